"""Faults of the client that the tests of this folder must notice; `work.py` applies one by name."""

from __future__ import annotations

import sqlite3
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flowwatch_client import background, client
from flowwatch_client.client import Client
from flowwatch_client.delivery import answers, message, sender
from flowwatch_client.delivery.answers import Judged, Next
from flowwatch_client.log import log as log_module
from flowwatch_client.log import outbox
from flowwatch_client.log.log import Log
from flowwatch_client.log.writer import Writer

# Types would be in the way of doing wrong.
_client: Any = client
_sender: Any = sender
_message: Any = message
_writer: Any = Writer
_log: Any = log_module
_background: Any = background


def count_first() -> None:
    """What is going to be sent counts as sent."""
    take = sender.Sender._take

    def take_and_count(self: sender.Sender) -> Any:
        batch, told = take(self)
        with self._writing.transaction() as connection:
            outbox.sent(connection, batch.seqs)
        return batch, told

    _sender.Sender._take = take_and_count


def no_turn() -> None:
    """Every process sends whenever it likes."""

    @contextmanager
    def always(path: Path) -> Iterator[bool]:
        yield True

    _sender.turn = always


def any_200() -> None:
    """Whatever comes with 200 means that all was stored."""

    def judge(answer: Any, lines: Any) -> Judged:
        return Judged(Next.GO_ON, lines) if answer.status == 200 else answers.judge(answer, lines)

    _sender.judge = judge


def any_results() -> None:
    """The results of an answer are taken for those of the lines, without comparing."""

    def judge(answer: Any, lines: Any) -> Judged:
        results = answers._results(answer) if answer.status == 200 else None
        if results is None:
            return answers.judge(answer, lines)
        return Judged(Next.GO_ON, lines)

    _sender.judge = judge


def wall_clock() -> None:
    """Pauses are measured by the clock on the wall."""
    _sender.time = types.SimpleNamespace(monotonic=lambda: time.time())


def forgetful_clock() -> None:
    """Messages tell the time of the wall clock, though they told a later one before."""
    following = message.MessageClock.next

    def now(self: message.MessageClock, told: int) -> Any:
        return following(message.MessageClock(), 0)

    _message.MessageClock.next = now


def no_id() -> None:
    """Messages don't say which execution they are about, so that a repeated one is a new one."""
    head = message._head

    def without_id(*told: Any) -> list[str]:
        return [member for member in head(*told) if not member.startswith('"id"')]

    _message._head = without_id
    real = answers.judge

    def judge(answer: Any, lines: Any) -> Judged:
        return Judged(Next.GO_ON, lines) if answer.status == 200 else real(answer, lines)

    _sender.judge = judge


def dead_at_once() -> None:
    """A refused body is refused for good, with all that is in it."""

    def divide(self: sender.Sender, lines: Any, judged: Judged) -> bool:
        with self._writing.transaction() as connection:
            for line in lines:
                outbox.refused(connection, line.seqs, judged.trouble)
        return True

    _sender.Sender._divide = divide


def dead_together() -> None:
    """A refused line is refused with all its nodes."""
    _sender.Sender._may_divide = lambda self, line: False


def patient_exit() -> None:
    """The exit waits until the sender has ended."""
    _background._Loop.join = lambda self, seconds: self._thread.join(20) if self._thread else None


def forgetful_exit() -> None:
    """The exit waits for nothing and commits nothing."""
    _background.Background.end = lambda self: None


def loud_writer() -> None:
    """Trouble of the log reaches the workflow."""
    _writer.write = lambda self, *rows: self._log.write(rows)

    def shout(self: Client, doing: str, error: BaseException) -> None:
        raise error

    _client.Client.complain = shout


def early_ids() -> None:
    """A node has its row's id before the commit, also when that fails."""
    real = _log._write_node

    def write(connection: sqlite3.Connection, row: Any, *more: Any) -> Any:
        done = real(connection, row, *more)
        row.row_id = connection.execute("SELECT max(id) FROM node_executions").fetchone()[0]
        return done

    _log._write_node = write


def lazy_writer() -> None:
    """Rows count as written before they are committed, though nobody asked for a buffer."""
    begin = Writer.__init__

    def buffered(self: Writer, log: Log, **how: Any) -> None:
        begin(self, log, **{**how, "buffered": True})

    _writer.__init__ = buffered


def shared_threads() -> None:
    """A child believes that its parent's threads are its own."""
    _background.Background.after_fork = lambda self: None


def stubborn_writer() -> None:
    """Each row tries the file, however often it was in trouble."""

    def write(self: Writer, *rows: Any) -> None:
        for row in rows:
            self._keep(row)
        self.flush()

    _writer.write = write


def slow_writer() -> None:
    """The workflow waits for the server."""
    wake = background.Background.wake

    def wait(self: background.Background) -> None:
        wake(self)
        if not self._hurries:
            self.flush(4)

    _background.Background.wake = wait


MUTANTS: dict[str, Callable[[], None]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        count_first,
        no_turn,
        any_200,
        any_results,
        wall_clock,
        forgetful_clock,
        no_id,
        dead_at_once,
        dead_together,
        patient_exit,
        forgetful_exit,
        loud_writer,
        early_ids,
        lazy_writer,
        shared_threads,
        stubborn_writer,
        slow_writer,
    )
}
