"""`flowwatch-client run -- command`: as if the command had been started directly, and recorded."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowwatch_client.cli.run import _title
from flowwatch_client.log.document import Document, execution_document
from flowwatch_client.log.log import Log
from flowwatch_client.log.reading import Filter, iterate

pytestmark = pytest.mark.processes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "executions.db"


class Run:
    """Starts `flowwatch-client run` with a log of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {
            **{name: each for name, each in os.environ.items() if "FLOWWATCH" not in name},
            "PYTHONPATH": os.pathsep.join(sys.path),
            "FLOWWATCH_LOG": str(path),
        }

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "flowwatch_client", "run", *arguments],
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "env": self.environment,
                **options,
            },
        )

    def __call__(self, *arguments: str, said: bytes | None = None) -> tuple[int, bytes, bytes]:
        stdin = subprocess.DEVNULL if said is None else subprocess.PIPE
        with self.start(*arguments, stdin=stdin) as process:
            out, err = process.communicate(said, timeout=60)
        return process.returncode, out, err

    def recorded(self) -> list[Document]:
        log = Log(self.path)
        found = [execution_document(*each) for each in iterate(log, Filter())]
        log.connection.close()
        return found

    def only(self) -> Document:
        (found,) = self.recorded()
        return found


@pytest.fixture
def run(path: Path) -> Run:
    return Run(path)


@pytest.fixture
def started(run: Run) -> Iterator[list[subprocess.Popen[bytes]]]:
    """What is put in here is ended at the end."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def test_a_program_that_is_well(run: Run) -> None:
    code, out, err = run(
        "--workflow", "stock", "--name", "Stock", "--trigger", "cron", "--tag", "nightly",
        "--", "sh", "-c", "echo out; echo err >&2",
    )  # fmt: skip
    assert (code, out, err) == (0, b"out\n", b"err\n")
    found = run.only()
    assert (found["workflowId"], found["workflowName"], found["status"]) == (
        "stock",
        "Stock",
        "success",
    )
    assert found["trigger"]["type"] == "cron"
    assert found["tags"] == ["nightly"]
    assert "error" not in found
    (node,) = found["nodeExecutions"]
    assert node["input"]["command"] == "sh -c 'echo out; echo err >&2'"
    assert node["output"] == {
        "exitStatus": 0, "stdout": "out\n", "stderr": "err\n", "stdoutBytes": 4, "stderrBytes": 4,
    }  # fmt: skip
    assert found["durationMs"] == node["durationMs"]


def test_a_program_that_fails(run: Run) -> None:
    script = "echo working; echo 'Traceback' >&2; echo 'no such host: db' >&2; exit 7"
    code, out, err = run("--", "sh", "-c", script)
    assert (code, out, err) == (7, b"working\n", b"Traceback\nno such host: db\n")
    found = run.only()
    assert found["status"] == "error"
    assert found["error"] == {
        "message": "Exit status 7: no such host: db",
        "stack": "Traceback\nno such host: db\n",
        "nodeId": "command",
    }


def test_a_program_that_says_nothing(run: Run) -> None:
    assert run("--", "sh", "-c", "exit 1")[0] == 1
    assert run.only()["error"] == {"message": "Exit status 1", "nodeId": "command"}


def test_output_is_passed_through_unchanged_and_its_end_is_kept(run: Run, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "data").write_bytes(data)
    script = f"cat {tmp_path}/data; cat {tmp_path}/data >&2; printf 'ü%.0s' $(seq 20000)"
    code, out, err = run("--", "bash", "-c", script)
    assert code == 0
    assert out == data + "ü".encode() * 20_000
    assert err == data
    output = run.only()["nodeExecutions"][0]["output"]
    assert output["stdout"] == "ü" * 8_192
    assert output["stdoutBytes"] == 3_040_000


def test_what_steers_a_terminal_is_passed_through_but_not_kept(run: Run) -> None:
    coloured = b"\x1b[31mred\x1b[0m \x1b]0;title\x07plain"
    code, out, _ = run("--", "printf", r"\033[31mred\033[0m \033]0;title\007plain")
    assert (code, out) == (0, coloured)
    assert run.only()["nodeExecutions"][0]["output"]["stdout"] == "red plain"


def test_output_comes_at_once(run: Run, started: list[subprocess.Popen[bytes]]) -> None:
    process = run.start("--", "sh", "-c", "echo first; sleep 60")
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n"
    process.terminate()
    assert process.wait(10) == 143


def test_it_is_seen_while_it_runs(run: Run, started: list[subprocess.Popen[bytes]]) -> None:
    process = run.start("--", "sh", "-c", "echo first; read line", stdin=subprocess.PIPE)
    started.append(process)
    assert process.stdout is not None
    process.stdout.readline()
    until = time.monotonic() + 10
    while not (run.path.exists() and run.recorded()) and time.monotonic() < until:
        time.sleep(0.05)
    assert run.only()["status"] == "running"
    assert run.only()["heartbeatSeconds"] == 60
    process.communicate(b"go\n", 10)
    assert run.only()["status"] == "success"


def test_input_is_the_programs(run: Run) -> None:
    assert run("--", "cat", said=b"words\n")[1] == b"words\n"


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")]
)
def test_signals_are_passed_on(
    run: Run, started: list[subprocess.Popen[bytes]], number: int, name: str
) -> None:
    process = run.start("--", "sh", "-c", "echo $$; exec sleep 60", start_new_session=True)
    started.append(process)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    assert process.wait(10) == 128 + number
    found = run.only()
    assert found["status"] == "error"
    assert found["error"]["message"].startswith(f"Ended by {name}")
    assert found["nodeExecutions"][0]["output"]["signal"] == name


def test_a_program_may_live_on_after_a_signal(
    run: Run, started: list[subprocess.Popen[bytes]]
) -> None:
    script = "trap 'echo tidy; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    process = run.start("--", "sh", "-c", script)
    started.append(process)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    assert process.communicate(timeout=10)[0] == b"tidy\n"
    assert process.returncode == 5


def test_a_program_that_is_killed(run: Run) -> None:
    assert run("--", "sh", "-c", "kill -9 $$")[0] == 137
    assert run.only()["error"]["message"] == "Ended by SIGKILL"


def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(run: Run) -> None:
    begun = time.monotonic()
    code, _, _ = run("--timeout", "0.5", "--", "sh", "-c", "sleep 61 & sleep 61; echo late")
    assert code == 124
    assert time.monotonic() - begun < 20
    assert run.only()["error"]["message"] == "Took longer than 0.5 s"


def test_what_is_left_running_does_not_hold_it(run: Run) -> None:
    begun = time.monotonic()
    code, _, _ = run("--", "sh", "-c", "sleep 8 & echo done")
    assert code == 0
    assert time.monotonic() - begun < 7
    assert run.only()["nodeExecutions"][0]["output"]["stdout"] == "done\n"


@pytest.mark.parametrize("options", [(), ("--timeout", "2")])
def test_what_keeps_writing_in_the_background_does_not_hold_it(
    run: Run, options: tuple[str, ...]
) -> None:
    begun = time.monotonic()
    script = "(for i in $(seq 40); do echo x; sleep 0.2; done) & echo done; exit 3"
    code, out, _ = run(*options, "--", "sh", "-c", script)
    assert code == 3
    assert b"done\n" in out
    assert time.monotonic() - begun < 6


def test_whoever_reads_late_gets_all(run: Run, started: list[subprocess.Popen[bytes]]) -> None:
    process = run.start("--", "head", "-c", "100000", "/dev/zero")
    started.append(process)
    time.sleep(3)
    assert len(process.communicate(timeout=10)[0]) == 100_000
    assert process.returncode == 0


def test_whoever_reads_nothing_does_not_outlive_a_signal(
    run: Run, started: list[subprocess.Popen[bytes]]
) -> None:
    process = run.start("--", "head", "-c", "100000", "/dev/zero")
    started.append(process)
    time.sleep(3)
    process.terminate()
    assert process.wait(10) == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("code", [0, 3])
def test_without_an_output_or_input(run: Run, closed: str, code: int) -> None:
    started = [sys.executable, "-m", "flowwatch_client", "run", "--"]
    program = ["sh", "-c", f"echo out; echo err >&2; exit {code}"]
    with_closed = f"{shlex.join([*started, *program])} {closed}"
    ended = subprocess.run(["sh", "-c", with_closed], env=run.environment, timeout=60, check=False)
    assert ended.returncode == code
    output = run.only()["nodeExecutions"][0]["output"]
    assert (output["stdout"], output["stderr"]) == ("out\n", "err\n")


def test_a_log_that_leads_nowhere_does_not_keep_the_program_from_running(run: Run) -> None:
    code, out, err = run("--log", "~nosuchuser/x.db", "--", "sh", "-c", "echo ran; exit 3")
    assert (code, out) == (3, b"ran\n")
    assert b"~nosuchuser" in err


@pytest.mark.parametrize("options", [(), ("--log", "x.db")])
def test_in_a_folder_that_is_gone(run: Run, tmp_path: Path, options: tuple[str, ...]) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    started = [sys.executable, "-m", "flowwatch_client", "run", *options, "--", "echo", "ran"]
    script = f"cd {gone}; rmdir {gone}; exec {shlex.join(started)}"
    ended = subprocess.run(
        ["sh", "-c", script], env=run.environment, capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, b"ran\n")
    if options:
        assert b"not recorded" in ended.stderr
    else:
        assert run.only()["status"] == "success"


def test_whoever_reads_only_the_head_ends_the_program_as_usual(
    run: Run, started: list[subprocess.Popen[bytes]]
) -> None:
    process = run.start("--", "sh", "-c", "trap '' TERM; exec yes")
    started.append(process)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    assert process.wait(20) in (1, 141)


@pytest.mark.parametrize(("program", "code"), [("/none/at/all", 127), ("/etc/passwd", 126)])
def test_what_cant_be_started(run: Run, program: str, code: int) -> None:
    ended, out, err = run("--", program)
    assert (ended, out) == (code, b"")
    assert b"can't be started" in err
    assert "can't be started" in run.only()["error"]["message"]


@pytest.mark.parametrize(
    "variables",
    [
        {"FLOWWATCH_LOG": "/dev/null/executions.db"},
        {"FLOWWATCH_LOG": "/proc/self/executions.db"},
        {"FLOWWATCH_LOG": "/dev/full"},
        {"FLOWWATCH_SAMPLE": "many"},
        {"FLOWWATCH_URL": "http://127.0.0.1:9", "FLOWWATCH_TOKEN": "none"},
        {"FLOWWATCH_ENABLED": "false"},
    ],
)
def test_nothing_of_the_record_changes_the_program(run: Run, variables: dict[str, str]) -> None:
    run.environment |= variables
    begun = time.monotonic()
    code, out, _ = run("--", "sh", "-c", "echo well; exit 3")
    assert (code, out) == (3, b"well\n")
    assert time.monotonic() - begun < 20


def test_a_log_that_can_not_be_written_is_said(run: Run) -> None:
    run.environment["FLOWWATCH_LOG"] = "/dev/null/executions.db"
    assert b"executions.db" in run("--", "true")[2]
    run.environment["FLOWWATCH_SAMPLE"] = "many"
    assert b"FLOWWATCH_SAMPLE" in run("--", "true")[2]


def test_secrets_are_not_recorded(run: Run) -> None:
    secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
    code, out, _ = run("--", "sh", "-c", f"echo key {secret}; echo {secret} >&2; exit 1")
    assert (code, out) == (1, f"key {secret}\n".encode())
    assert secret not in json.dumps(run.only())


def test_a_secret_at_the_cut_of_an_output_is_not_recorded(run: Run) -> None:
    secret = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc" * 4
    script = f"printf 'x%.0s' $(seq 1000); printf ' %s ' {secret}; printf 'ü%.0s' $(seq 8170)"
    assert run("--", "bash", "-c", script)[0] == 0
    output = run.only()["nodeExecutions"][0]["output"]
    assert len(output["stdout"].encode()) == 16 * 1024
    assert "4eC39" not in output["stdout"]
    assert "zdp7dc" not in output["stdout"]


def test_without_values_no_output_is_recorded(run: Run) -> None:
    run.environment["FLOWWATCH_VALUES"] = "no"
    run("--", "echo", "private")
    (node,) = run.only()["nodeExecutions"]
    assert "input" not in node
    assert "output" not in node


def test_a_python_program_becomes_a_sub_workflow(run: Run) -> None:
    script = "from flowwatch_client import workflow\nwith workflow('inner'): pass"
    assert run("--workflow", "outer", "--", sys.executable, "-c", script)[0] == 0
    by_id = {each["workflowId"]: each for each in run.recorded()}
    assert by_id["inner"]["parent"] == {"executionId": by_id["outer"]["id"], "nodeId": "command"}


def test_runs_within_runs_are_linked(run: Run, path: Path) -> None:
    inner = [sys.executable, "-m", "flowwatch_client", "run", "--workflow", "inner", "--", "true"]
    run("--log", str(path), "--workflow", "outer", "--", *inner)
    by_id = {each["workflowId"]: each for each in run.recorded()}
    assert by_id["inner"]["parent"]["executionId"] == by_id["outer"]["id"]


@pytest.mark.parametrize(
    "arguments", [[], ["--"], ["--timeout", "0", "--", "true"], ["--timeout", "x"]]
)
def test_wrong_usage(run: Run, arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2
    assert not run.path.exists()


@pytest.mark.parametrize(
    ("program", "title"),
    [
        (["/opt/shop/sync.sh", "--all"], "sync.sh"),
        (["python3.11", "report.py", "x"], "report.py"),
        (["bash", "/opt/shop/sync.sh"], "sync.sh"),
        (["sh", "-c", "echo"], "sh"),
        (["python"], "python"),
        (["/"], "command"),
    ],
)
def test_an_execution_is_named_for_its_program(program: list[str], title: str) -> None:
    assert _title(program) == title
