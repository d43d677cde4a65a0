"""`run`: any program as one execution, so that a cron job is known without a change to it.

The program runs as if it had been started directly, whatever becomes of the record: without a server,
without a token, with a full disk.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import os
import re
import shlex
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path

from flowwatch_client import parent
from flowwatch_client.capture.clock import Clock, milliseconds, now
from flowwatch_client.cli.opening import Commands, WrongUsage, settings_of
from flowwatch_client.cli.running import (
    CANT_RUN,
    KEPT_BYTES,
    NOT_FOUND,
    Ended,
    Program,
    Tail,
    open_closed_descriptors,
)
from flowwatch_client.cli.terminal import err
from flowwatch_client.client import LONGEST_MESSAGE, LONGEST_STACK, Client
from flowwatch_client.parent import Parent
from flowwatch_client.rows import ERROR, RUNNING, SUCCESS, ExecutionRow, NodeRow
from flowwatch_client.settings import BadSetting, absolute
from flowwatch_client.values import storable

NODE_ID = "command"
_INTERPRETERS = re.compile(r"(?:python|pypy|ruby|perl|node|php|bash|dash|zsh|ksh|sh)[0-9.]*")
_STEERING = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
"""Colours, titles and the like, which mean something to a terminal only."""

_DESCRIPTION = """\
Runs a program and records it as one execution: its exit status decides, and the end of its output is
kept. Everything that it writes is passed through, and its exit status is that of this command (128 + n
when signal n ended it, 124 when it took longer than --timeout).

  */5 * * * *  flowwatch-client run --workflow stock-sync --trigger cron -- /opt/shop/sync.sh

What it starts finds FLOWWATCH_EXECUTION and FLOWWATCH_PARENT in its environment: workflows of Python
programs become sub-workflows of this execution."""


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    running = commands.add_parser(
        "run",
        help="run any program as one execution: cron jobs",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
        usage="%(prog)s [options] -- command …",
    )
    running.add_argument("-w", "--workflow", metavar="ID", help="its id (the program's name)")
    running.add_argument("--name", help="its name for people (the id)")
    running.add_argument("--trigger", default="manual", help="what started it: cron, manual …")
    running.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="end it (SIGTERM, 10 s later SIGKILL) and count it as failed when it takes longer",
    )
    running.add_argument("--tag", action="append", default=[], help="may be given several times")
    running.add_argument("program", nargs=argparse.REMAINDER, metavar="-- command …")
    running.set_defaults(command=run)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 10**7:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def run(options: argparse.Namespace) -> int:
    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not program:
        raise WrongUsage("Name the program to run, after two dashes: run -- command …")
    open_closed_descriptors()
    record = _Record(options, program)
    environment = {**os.environ, **parent.to_environment(Parent(record.id, NODE_ID))}
    if hasattr(options, "log"):
        environment["FLOWWATCH_LOG"] = _log_for_program(options.log)
    try:
        running = Program(program, environment, options.timeout)
    except (OSError, ValueError) as error:
        err(f"{program[0]} can't be started: {error}")
        record.failed(f"{program[0]} can't be started: {error}")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else CANT_RUN
    record.runs()
    ended = running.wait()
    record.ended(ended, running.stdout, running.stderr)
    running.leave_signals()
    return ended.exit_status


def _log_for_program(log: str) -> str:
    """What leads nowhere stays as it is: whoever uses it says so."""
    try:
        return str(absolute("--log", log))
    except BadSetting:
        return log


class _Record:
    """What is recorded of the run. No method raises, and none is called before the program runs."""

    def __init__(self, options: argparse.Namespace, program: Sequence[str]) -> None:
        self.id = str(uuid.uuid4())
        self._options = options
        self._program = program
        self._clock = Clock()
        self._started = now()

    def runs(self) -> None:
        """The program has begun: what reads the log sees it run."""
        self._write(RUNNING)

    def failed(self, message: str) -> None:
        """It could not be started."""
        self._write(ERROR, message=message)

    def ended(self, ended: Ended, stdout: Tail, stderr: Tail) -> None:
        is_well = ended.exit_status == 0
        texts = self._end_of(stdout), self._end_of(stderr)
        output = {
            "exitStatus": ended.exit_status,
            "signal": ended.signal,
            "stdout": texts[0],
            "stderr": texts[1],
            "stdoutBytes": stdout.bytes,
            "stderrBytes": stderr.bytes,
        }
        self._write(
            SUCCESS if is_well else ERROR,
            message=None if is_well else self._message(ended, *texts),
            stack=None if is_well or "\n" not in texts[1].strip() else texts[1],
            output={name: value for name, value in output.items() if value not in (None, "")},
        )

    def _end_of(self, output: Tail) -> str:
        """What is kept of an output. Secrets go before it is cut: no rule knows half of one."""
        text = _plain(output.text())
        with contextlib.suppress(Exception):  # without a client nothing is recorded, which is said
            if self._client is not None:
                text = self._client.scrubber.scrub_text(storable(text))
        return text.encode("utf-8", "replace")[-KEPT_BYTES:].decode("utf-8", "ignore")

    def _message(self, ended: Ended, stdout: str, stderr: str) -> str:
        """What happened, with the last thing that the program said."""
        if ended.timed_out:
            happened = f"Took longer than {self._options.timeout:g} s"
        elif ended.signal:
            happened = f"Ended by {ended.signal}"
        else:
            happened = f"Exit status {ended.exit_status}"
        *_, last = ("", *(stderr.strip() or stdout.strip()).splitlines())
        return f"{happened}: {last.strip()}" if last.strip() else happened

    def _write(
        self,
        status: str,
        *,
        message: str | None = None,
        stack: str | None = None,
        output: dict[str, object] | None = None,
    ) -> None:
        try:
            client = self._client
            if client is None:
                return
            execution, node = self._rows(client)
            ended = now()
            for row in (execution, node):
                row.status = status
                row.error_message = message and client.text(message, LONGEST_MESSAGE)
                row.error_stack = stack and client.text(stack, LONGEST_STACK)
                if status != RUNNING:
                    row.completed_at = self._clock.text(ended)
                    row.duration_ms = milliseconds(self._started, ended)
            execution.error_node_id = message and NODE_ID
            if output is not None and client.settings.values:
                node.output = client.json(output)
            client.write(execution, node)
            if status == RUNNING:
                client.background.started(self.id, client.settings.heartbeat_seconds)
            else:
                client.background.ended(self.id)
        except Exception as error:  # the program runs without its record, too
            err(f"This run is not recorded: {error!r}")

    @functools.cached_property
    def _client(self) -> Client | None:
        try:
            settings = settings_of(self._options)
        except BadSetting as error:
            err(f"This run is not recorded: {error}")
            return None
        return Client(settings) if settings.enabled else None

    def _rows(self, client: Client) -> tuple[ExecutionRow, NodeRow]:
        """The two rows; made once, so that the node keeps its place in the log."""
        if self._made is None:
            self._made = self._make_rows(client)
        return self._made

    _made: tuple[ExecutionRow, NodeRow] | None = None

    def _make_rows(self, client: Client) -> tuple[ExecutionRow, NodeRow]:
        options, started_at = self._options, self._clock.text(self._started)
        title = client.name(_title(self._program))
        outer = parent.from_environment()
        execution = ExecutionRow(
            id=self.id,
            workflow_id=client.name(options.workflow or title),
            workflow_name=client.name(options.name or options.workflow or title),
            status=RUNNING,
            started_at=started_at,
            trigger_type=client.name(options.trigger),
            parent_execution_id=outer.execution_id if outer else None,
            parent_node_id=outer.node_id if outer else None,
            version=client.version,
            tags=client.json(options.tag) if options.tag else None,
            extra=client.json({"host": socket.gethostname()}),
            heartbeat_seconds=client.settings.heartbeat_seconds,
        )
        said = {"command": shlex.join(self._program), "folder": _folder()}
        node = NodeRow(
            execution_id=self.id,
            node_id=NODE_ID,
            node_name=title,
            node_type="command",
            status=RUNNING,
            started_at=started_at,
            input=client.json(said) if client.settings.values else None,
        )
        return execution, node


def _folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it is gone
        return None


def _title(program: Sequence[str]) -> str:
    """`sync.sh` of `/bin/sh /opt/shop/sync.sh --all`: the script's name says more than the shell's."""
    first = Path(program[0]).name
    if _INTERPRETERS.fullmatch(first):
        for word in program[1:]:
            if word.startswith("-"):
                break  # what follows may be code
            return Path(word).name or first
    return first or "command"


def _plain(text: str) -> str:
    return _STEERING.sub("", text)
