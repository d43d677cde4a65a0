"""A log whose file is deleted or replaced while a program uses it: it is said, and nothing is silent."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli_calls import execution
from flowwatch_client import client as clients
from flowwatch_client import configure, flush, node, workflow
from flowwatch_client.log import writer
from flowwatch_client.log.log import Log
from flowwatch_client.log.reading import summary
from recorded import Recorded


def delete(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


def replace(path: Path) -> None:
    other = Log(path.with_name("other.db"))
    other.log_execution({"workflowId": "other", "status": "success", "startedAt": "2026-11-21"})
    other.connection.close()
    delete(path)
    other.path.rename(path)


def delete_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


@node
def step() -> int:
    return 1


@workflow
def orders() -> None:
    step()


@pytest.mark.parametrize("go", [delete, replace, delete_folder])
def test_the_next_rows_go_into_a_new_file(
    tmp_path: Path, buffered: bool, go: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "log" / "executions.db"
    configure(log=path, buffered=buffered)
    with workflow("around") as run:
        step()
        with node("long"):
            run.show_open_nodes()
            assert flush(10)
            go(path)
            run.client.writer._look_at = 0.0
            orders()
    flush(10)  # False when it was committed within the last second
    assert "was deleted or replaced: it begins anew" in caplog.text
    found = {row.workflow_id: nodes for row, nodes in Recorded(path).executions()}
    assert {"around", "orders"} <= set(found)
    assert [each.node_id for each in found["around"]] == ["long"]
    assert [each.status for each in found["orders"]] == ["success"]
    assert summary(Log(path)).holds
    configure(enabled=False)


@pytest.mark.parametrize("go", [delete, replace])
def test_what_was_committed_into_the_gone_file_is_lost_and_said(
    tmp_path: Path,
    go: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "executions.db"
    configure(log=path)
    client = clients.active()
    assert client is not None
    monkeypatch.setattr(client.background, "wake", lambda: None)  # the keeper would be first
    orders()
    assert flush(10)
    go(path)
    client.writer._look_at = time.monotonic() + 100
    orders()
    assert not flush(10)
    assert flush(10)
    assert client.writer.lost == 3
    assert "3 rows are lost with it" in caplog.text
    orders()
    assert flush(10)
    assert [row.workflow_id for row, _ in Recorded(path).executions()][-1] == "orders"
    assert summary(Log(path)).lost == 3
    configure(enabled=False)


def test_a_log_of_the_program_itself_goes_on_in_a_new_file(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.db")
    message = {"workflowId": "orders", "status": "success", "startedAt": "2026-11-21T20:00:00Z"}
    log.log_execution(message)
    delete(log.path)
    log.log_execution(message)
    assert len(Log(log.path).get_executions()) == 1
    delete(log.path)
    assert log.get_executions() == []


def test_writing_looks_for_the_file_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LOOK_SECONDS", 100.0)
    writing = writer.Writer(Log(tmp_path / "log.db"))
    looks = []
    monkeypatch.setattr(writing._log.connection, "look", lambda: looks.append(1))
    for number in range(20):
        writing.write(execution(f"e{number}"))
    assert looks == [1]
