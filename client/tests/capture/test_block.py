"""One block that is open in several threads at once."""

from __future__ import annotations

import _thread
import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

import pytest

from flowwatch_client.capture.block import Block
from flowwatch_client.capture.place import Place, here


@pytest.fixture(autouse=True)
def _nowhere() -> Iterator[None]:
    """What a block leaves behind here is no other test's place."""
    yield
    here.set(None)


class Opened:
    """Says which threads left it."""

    is_over = False

    def __init__(self) -> None:
        self.entered_at: Place | None = None
        self.left_by: list[int] = []
        self._token: contextvars.Token[Place | None] | None = None

    def __enter__(self) -> Opened:
        execution: Any = self
        self.entered_at = Place(execution)
        self._token = here.set(self.entered_at)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        self.left_by.append(threading.get_ident())
        if self._token is not None:
            here.reset(self._token)


class Shared(Block[Opened]):
    def _begin_block(self, depth: int) -> Opened:
        return Opened()


def _in_a_thread(work: Callable[[], object]) -> None:
    """In one that carries no place along, as those of `Thread` do once a client was made."""
    done = threading.Event()

    def run() -> None:
        try:
            work()
        finally:
            done.set()

    _thread.start_new_thread(run, ())
    assert done.wait(10)


def _trace_at(function: Any, line: int, work: Callable[[], None]) -> Any:
    """For `sys.settrace`: does the work before that many lines of the function have run."""
    lines = iter(range(line))

    def at_line(_frame: FrameType, event: str, _value: object) -> Any:
        if event == "line" and next(lines, None) == line - 1:
            work()
        return at_line

    return lambda frame, _event, _value: at_line if frame.f_code is function.__code__ else None


@pytest.mark.parametrize("line", range(1, 8))
def test_another_thread_may_enter_while_one_leaves(line: int) -> None:
    shared = Shared()
    opened = shared.__enter__()
    before = sys.gettrace()
    sys.settrace(_trace_at(Shared._leave, line, lambda: _in_a_thread(shared.__enter__)))
    try:
        shared.__exit__(None, None, None)
    finally:
        sys.settrace(before)
    assert opened.left_by == [threading.get_ident()]


def test_what_nobody_entered_is_left_by_nobody() -> None:
    Shared().__exit__(None, None, None)
