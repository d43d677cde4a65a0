"""What is written is sent soon, by the background, and counted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowwatch_client import background
from flowwatch_client.background import Background
from flowwatch_client.log import disk, outbox
from flowwatch_client.log.log import Log
from flowwatch_client.log.writer import Writer
from flowwatch_client.rows import ExecutionRow, NodeRow
from flowwatch_client.settings import Settings
from receivers import Receiver, receiving

START = "2026-11-21T20:00:00.000000+00:00"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


class Client:
    """Log, writer and background as the real client puts them together."""

    def __init__(self, path: Path, url: str | None, **settings: object) -> None:
        self.settings = Settings(url=url, token="fw_test_1", path=path, **settings)  # type: ignore[arg-type]
        self.log = Log(path)
        self.writer = Writer(self.log, buffered=self.settings.buffered)
        self.background = Background(self.log, self.writer, self.settings)

    def write(self, *rows: ExecutionRow | NodeRow) -> None:
        self.writer.write(*rows)
        self.background.wake()

    def counts(self) -> outbox.Counts:
        with self.log.connection.reading() as connection:
            return outbox.counts(connection)


def test_what_is_written_is_sent_and_counted(tmp_path: Path, receiver: Receiver) -> None:
    client = Client(tmp_path / "log.db", receiver.url)
    run = ExecutionRow("e1", "orders", "Orders", "running", START, heartbeat_seconds=60)
    client.write(run)
    client.write(NodeRow("e1", "read", "Read", "function", "success", input='{"a":\n1}'))
    assert client.background.flush(10)
    assert client.counts() == outbox.Counts(accepted=2, sent=2, waiting=0, dead=0, dropped=0)
    [line] = receiver.lines()
    assert line["id"] == "e1"
    assert line["heartbeatSeconds"] == 60
    assert [(node["nodeId"], node["runIndex"]) for node in line["nodeExecutions"]] == [("read", 0)]
    assert line["nodeExecutions"][0]["input"] == {"a": 1}
    client.background.end()


def test_without_a_server_everything_waits(tmp_path: Path) -> None:
    client = Client(tmp_path / "log.db", None, buffered=True)
    client.write(ExecutionRow("e1", "orders", "Orders", "running", START))
    assert client.background.flush(10)
    assert client.counts().waiting == 1
    client.background.end()


def test_a_forked_child_sends_by_itself(tmp_path: Path, receiver: Receiver) -> None:
    client = Client(tmp_path / "log.db", receiver.url)
    client.write(ExecutionRow("e1", "orders", "Orders", "running", START))
    child = os.fork()
    if not child:
        client.write(ExecutionRow("e2", "orders", "Orders", "running", START))
        os._exit(0 if client.background.flush(10) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert client.background.flush(10)
    assert {line["id"] for line in receiver.lines()} == {"e1", "e2"}
    assert client.counts().sent == 2
    client.background.end()


def test_the_log_is_kept_within_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "UPKEEP_SECONDS", 0.1)
    client = Client(tmp_path / "log.db", None, max_log_bytes=1024 * 1024)
    for number in range(400):
        client.write(
            ExecutionRow(
                f"e{number}", "orders", "Orders", "success", START, result=f'"{"x" * 10_000}"'
            )
        )
    deadline = time.monotonic() + 10
    while disk.log_bytes(client.log) > 1024 * 1024:
        assert time.monotonic() < deadline
        client.background.wake()
        time.sleep(0.05)
    counts = client.counts()
    assert counts.dropped > 0
    assert counts.accepted == 400 == counts.waiting + counts.dropped
    client.background.end()


_WITH_CHILDREN = """
import multiprocessing, sys
from flowwatch_client import configure, workflow

configure(log=sys.argv[1], buffered=True)

@workflow("child")
def child():
    pass

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[2])
    process = multiprocessing.Process(target=child)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_children_of_multiprocessing_commit_at_their_end(tmp_path: Path, method: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(_WITH_CHILDREN)
    path = tmp_path / "log.db"
    sources = Path(background.__file__).parents[1]
    subprocess.run(
        [sys.executable, script, path, method], check=True, env={"PYTHONPATH": str(sources)}
    )
    assert [row.status for row in Log(path).get_executions()] == ["success"]
