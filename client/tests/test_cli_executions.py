"""`list`, `show`, `tail`, `export`."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli_calls import Call, caller, execution, failed, fill, node
from flowwatch_client.cli import terminal
from flowwatch_client.log import reading
from flowwatch_client.log.log import Log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "executions.db"


@pytest.fixture
def log(path: Path) -> Log:
    return fill(path)


@pytest.fixture
def call(log: Log, path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(path, capsys)


_MAIN = """
import signal, sys
# A shell's background jobs, which these tests may be one of, are deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
from flowwatch_client.cli import main
sys.exit(main())
"""


def _process(path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _MAIN, "--log", str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


# --- list -----------------------------------------------------------------------------------------


def test_the_list_is_a_table_with_the_latest_first(call: Call) -> None:
    heading, *rows = call("list").lines()
    assert heading.split() == ["Started", "Status", "Duration", "Workflow", "Id", "Error"]
    assert [row.split()[2] for row in rows] == ["running", "error", "success"]
    assert "503 Service Unavailable" in rows[1]
    assert "retry later" not in rows[1]
    assert rows[2].index("Orders") == rows[1].index("Orders") == heading.index("Workflow")


def test_ids_are_as_long_as_tells_them_apart(call: Call) -> None:
    rows = call("list").lines()[1:]
    assert "aaaaaaaa-2" in rows[1]
    assert "aaaaaaaa-1" in rows[2]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--limit", "1"], ["bbbbbbbb-1"]),
        (["--limit", "1", "--offset", "1"], ["aaaaaaaa-2"]),
        (["--workflow", "orders"], ["aaaaaaaa-2", "aaaaaaaa-1"]),
        (["--workflow", "Rechnungen – März"], ["bbbbbbbb-1"]),
        (["--status", "failed"], ["aaaaaaaa-2"]),
        (["--status", "error", "--workflow", "invoices"], []),
        (["--since", "2026-11-21T20:01:00Z"], ["bbbbbbbb-1", "aaaaaaaa-2"]),
        (["--before", "2026-11-21T20:01:00+00:00"], ["aaaaaaaa-1"]),
        (["--since", "2026-11-21T21:00:00+01:00", "--before", "2026-11-21T20:00:30Z"], ["aaaaaaaa-1"]),
    ],
)  # fmt: skip
def test_the_list_can_be_narrowed(call: Call, arguments: list[str], ids: list[str]) -> None:
    answer = call("list", "--json", *arguments)
    assert [each["id"] for each in answer.ndjson()] == ids
    assert answer.code == 0


def test_programs_get_whole_executions(call: Call) -> None:
    (found,) = call("list", "--json", "--status", "error").ndjson()
    assert found == call("show", "aaaaaaaa-2", "--json").json()
    assert found["error"]["nodeId"] == "send"
    assert found["trigger"] == {"type": "manual", "data": None}
    assert [each["nodeId"] for each in found["nodeExecutions"]] == ["read", "send"]
    assert found["nodeExecutions"][0]["input"] == {"order": 4711}
    assert found["nodeExecutions"][1]["source"] == {"file": "orders.py", "line": 3}


def test_nothing_found_is_said_beside_the_output(call: Call) -> None:
    answer = call("list", "--workflow", "none")
    assert (answer.code, answer.out) == (0, "")
    assert "no such execution" in answer.err


@pytest.mark.parametrize("time", ["yesterday", "5 x", "99999999999999999999d", "2026-13-01"])
def test_a_time_that_is_none_is_wrong_usage(call: Call, time: str) -> None:
    answer = call("list", "--since", time)
    assert answer.code == 2
    assert "--since" in answer.err


def test_a_limit_below_zero_is_wrong_usage(call: Call) -> None:
    assert call("list", "--limit", "-1").code == 2


def test_a_narrow_terminal_gets_short_lines(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("list").lines()
    assert max(map(terminal.columns_of, lines)) <= 80
    assert "…" in lines[2]


# --- show -----------------------------------------------------------------------------------------


def test_one_execution_is_shown_with_its_nodes(call: Call) -> None:
    shown = call("show", "aaaaaaaa-2").out
    for part in (
        "Orders",
        "error",
        "1.2 s",
        "503 Service Unavailable",
        'File "orders.py", line 3',
        "Send",
        "orders.py:3",
        '"order": 4711',
    ):
        assert part in shown


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("b", "bbbbbbbb-1"),
        ("aaaaaaaa-1", "aaaaaaaa-1"),
        ("last", "bbbbbbbb-1"),
        ("last-error", "aaaaaaaa-2"),
    ],
)
def test_an_execution_is_known_by_how_its_id_begins(call: Call, said: str, meant: str) -> None:
    assert call("show", said, "--json").json()["id"] == meant


def test_an_ambiguous_id_lists_what_may_be_meant(call: Call) -> None:
    answer = call("show", "aaaa")
    assert answer.code == 1
    assert "aaaaaaaa-1, aaaaaaaa-2" in answer.err


def test_an_id_that_is_the_beginning_of_another_is_itself(call: Call, log: Log) -> None:
    log.write([execution("bbbb")])
    assert call("show", "bbbb", "--json").json()["id"] == "bbbb"


@pytest.mark.parametrize("said", ["none", "%", "_", ""])
def test_an_unknown_id_is_an_error(call: Call, said: str) -> None:
    answer = call("show", said)
    assert (answer.code, answer.out) == (1, "")


def test_long_values_are_cut_until_asked_for(call: Call, log: Log) -> None:
    log.write([execution("long"), node("long", input=json.dumps(list(range(100))))])
    short, full = call("show", "long"), call("show", "long", "--full")
    assert "more: --full" in short.out
    assert len(full.lines()) > len(short.lines()) + 80


def test_what_is_recorded_steers_no_terminal(call: Call, log: Log) -> None:
    evil = "\x1b[2J\x07\u202eevil\r\n"
    log.write(
        [
            failed("evil", workflow_name=evil, tags=json.dumps([evil]), version=evil),
            node("evil", evil, error_message=evil, error_stack=evil, input=json.dumps(evil)),
        ]
    )
    for answer in (call("list"), call("show", "evil")):
        assert not set("\x1b\x07\u202e\r") & set(answer.out)


def test_json_that_others_wrote_badly_is_shown_as_it_is(call: Call, log: Log) -> None:
    log.write([execution("odd"), node("odd", input="{half", extra="[")])
    (shown,) = call("show", "odd", "--json").json()["nodeExecutions"]
    assert shown["input"] == "{half"


# --- tail -----------------------------------------------------------------------------------------


@pytest.mark.processes
def test_tail_follows_beginnings_and_ends_until_ctrl_c(log: Log, path: Path) -> None:
    following = _process(path, "tail", "-n", "1", "--json")
    assert following.stdout is not None
    try:
        assert json.loads(following.stdout.readline())["id"] == "bbbbbbbb-1"
        time.sleep(0.7)
        log.write([execution("cccccccc-1", status="running", minute=3)])
        begun = json.loads(following.stdout.readline())
        log.write([node("cccccccc-1"), execution("cccccccc-1", minute=3)])
        log.write([execution("bbbbbbbb-1", minute=2)])
        ended = [json.loads(following.stdout.readline()) for _ in range(2)]
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 0
        assert following.communicate() == ("", "")
    finally:
        following.kill()
        following.communicate()
    assert (begun["id"], begun["status"]) == ("cccccccc-1", "running")
    assert {(each["id"], each["status"]) for each in ended} == {
        ("cccccccc-1", "success"),
        ("bbbbbbbb-1", "success"),
    }


def test_tail_tells_people_in_lines(call: Call, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([lambda: log.write([failed("cccccccc-1", minute=3)]), _interrupt])
    monkeypatch.setattr("time.sleep", lambda _: next(looks)())
    answer = call("tail", "-n", "2")
    assert answer.code == 0
    assert [line.split()[2] for line in answer.lines()] == ["error", "running", "error"]


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_tail_follows_more_than_one_statement_takes(
    call: Call, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_AT_ONCE", 3)
    names = [f"cccccccc-{number}" for number in range(10)]
    log.write(execution(name, minute=3, status="running") for name in names)

    def end() -> None:
        log.write(execution(name, minute=3) for name in names)

    looks = iter([end, _interrupt])
    monkeypatch.setattr("time.sleep", lambda _: next(looks)())
    assert [each["id"] for each in call("tail", "-n", "0", "--json").ndjson()] == names


def test_tail_sees_an_execution_in_the_place_of_a_deleted_one(
    call: Call, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace() -> None:
        log.delete_execution("bbbbbbbb-1")
        log.write([execution("cccccccc-1", minute=3)])

    looks = iter([replace, _interrupt])
    monkeypatch.setattr("time.sleep", lambda _: next(looks)())
    assert [each["id"] for each in call("tail", "-n", "0", "--json").ndjson()] == ["cccccccc-1"]


# --- export ---------------------------------------------------------------------------------------


def test_the_export_is_whole_and_in_order(call: Call, log: Log) -> None:
    log.write([execution(f"x{at:03}", minute=3) for at in range(450)])
    exported = call("export").ndjson()
    assert len(exported) == 453
    assert [each["startedAt"] for each in exported] == sorted(e["startedAt"] for e in exported)
    assert len({each["id"] for each in exported}) == 453
    assert exported[1] == call("show", "aaaaaaaa-2", "--json").json()


def test_the_export_writes_a_new_file_only(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "orders.ndjson"
    assert call("export", "-w", "orders", "-o", str(file)).code == 0
    assert len(file.read_text().splitlines()) == 2
    again = call("export", "-o", str(file))
    assert again.code == 1
    assert "there already" in again.err
    assert len(file.read_text().splitlines()) == 2


@pytest.mark.processes
def test_whoever_reads_only_the_head_causes_no_error(log: Log, path: Path) -> None:
    log.write([execution(f"x{at:04}", result=json.dumps("x" * 500)) for at in range(2_000)])
    exporting = _process(path, "export")
    assert exporting.stdout is not None
    exporting.stdout.readline()
    exporting.stdout.close()
    assert exporting.wait(20) == 0
    assert exporting.stderr is not None
    assert exporting.stderr.read() == ""
    exporting.stderr.close()


# --- files that are no log ------------------------------------------------------------------------


def test_a_file_that_is_named_must_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = caller(tmp_path / "none.db", capsys)("list")
    assert answer.code == 1
    assert "There is no file" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_no_log_yet_is_an_empty_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowwatch_client.cli import main

    monkeypatch.setenv("FLOWWATCH_LOG", str(tmp_path / "new" / "executions.db"))
    assert main(["list", "--json"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "Nothing is recorded yet" in said.err
    assert list(tmp_path.iterdir()) == []


def test_another_programs_database_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "other.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE executions (a)")
    connection.close()
    before = file.read_bytes()
    answer = caller(file, capsys)("clear", "--all", "--yes")
    assert answer.code == 1
    assert "no log of flowwatch-client" in answer.err
    assert file.read_bytes() == before


def test_a_file_that_is_no_database_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "text.db"
    file.write_text("words " * 1000)
    answer = caller(file, capsys)("list")
    assert answer.code == 1
    assert "can't be read as a log" in answer.err


def test_a_log_of_a_newer_version_says_so(call: Call, log: Log, path: Path) -> None:
    log.connection.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    answer = call("list")
    assert answer.code == 1
    assert "version 99" in answer.err


def test_a_wrong_setting_is_named(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWWATCH_SAMPLE", "7")
    answer = call("list")
    assert answer.code == 1
    assert "FLOWWATCH_SAMPLE" in answer.err
