"""What is told of an exception: its status, message and stack."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import sys
import traceback
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowwatch_client.rows import CANCELED, ERROR, SUCCESS
from flowwatch_client.signals import raised_by_handler

_OWN_FOLDER = str(Path(__file__).resolve().parents[1])
_MOST_RELATED = 50
_MOST_PRINTED = 200
"""Exceptions that Python is asked to print together: what it does has no bound of its own."""
_MOST_FRAMES = 5_000
_MOST_FRAMES_OF_MANY = 50
"""Of each exception that Python isn't asked for."""


def status_of(error: BaseException | None) -> str:
    """How something ended that was left by this exception (None: by none).

    Closing a generator early and `sys.exit(0)` are ways to be done.
    """
    if error is None or isinstance(error, GeneratorExit):
        return SUCCESS
    if isinstance(error, SystemExit):
        return SUCCESS if _is_no_failure(error) else ERROR
    if isinstance(error, _CANCELS):
        return CANCELED
    return ERROR


def _is_no_failure(error: SystemExit) -> bool:
    """As Python judges it; what it was given may be any object."""
    try:
        return bool(error.code is None or (isinstance(error.code, int) and error.code == 0))
    except BaseException as trouble:  # comparing the code may raise whatever it likes
        if raised_by_handler(trouble):
            raise
        return False


_CANCELS = (KeyboardInterrupt, asyncio.CancelledError, concurrent.futures.CancelledError)


def message_of(error: BaseException) -> str:
    """“ValueError: what it says”."""
    try:
        text = str(error)
    except BaseException as trouble:  # its own text may raise
        if raised_by_handler(trouble):
            raise
        text = "[its text can't be read]"
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def stack_of(error: BaseException) -> str:
    """The traceback as Python prints it, without this library's own frames; of too much, a part."""
    try:
        if not _is_small(error):
            return _part_of_stacks(error)
        told = traceback.TracebackException.from_exception(error)
        _leave_own_frames_out(told, 0)
        return "".join(told.format())
    except BaseException as trouble:  # its text raises; its chain is longer than Python's stack
        if raised_by_handler(trouble):
            raise
        return f"[the stack can't be read: {type(trouble).__name__}]"


def _is_small(error: BaseException) -> bool:
    """Whether Python prints few exceptions and frames: it repeats a group that is within two others."""
    waiting, seen = collections.deque([error]), {id(error)}
    printed = frames = 0
    while waiting:
        each = waiting.popleft()
        stack = each.__traceback__
        while stack is not None and frames <= _MOST_FRAMES:
            frames, stack = frames + 1, stack.tb_next
        parts = _parts(each)
        printed += 1
        if printed + len(waiting) + len(parts) > _MOST_PRINTED or frames > _MOST_FRAMES:
            return False
        waiting += parts
        for other in (each.__cause__, each.__context__):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)
    return True


def _parts(error: BaseException) -> list[BaseException]:
    """What a group holds, as far as it matters whether that is much."""
    parts = getattr(error, "exceptions", ())
    held = parts[: _MOST_PRINTED + 1] if isinstance(parts, tuple) else ()
    return [each for each in held if isinstance(each, BaseException)]


def _part_of_stacks(error: BaseException) -> str:
    """The exception last, before it those that it was raised from; of each the frames it rose in."""
    told = [f"[many belong together: at most {_MOST_RELATED} exceptions are told, each in short]\n"]
    for each in reversed([*related(error)]):
        frames = traceback.walk_tb(each.__traceback__)
        stack = traceback.StackSummary.extract(frames, limit=-_MOST_FRAMES_OF_MANY)
        stack[:] = filter(_is_foreign, stack)
        told += ["\n", *stack.format(), message_of(each), "\n"]
    return "".join(told)


def _is_foreign(frame: traceback.FrameSummary) -> bool:
    return not frame.filename.startswith(_OWN_FOLDER)


def _leave_own_frames_out(told: traceback.TracebackException, depth: int) -> None:
    told.stack[:] = filter(_is_foreign, told.stack)
    inner = [told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())]
    for each in inner:
        if each is not None and depth < _MOST_RELATED:
            _leave_own_frames_out(each, depth + 1)


class Mark:
    """Knows an exception again, and keeps neither it nor what its stack holds alive.

    Its id wouldn't do: Python gives it to a later one when it is gone.
    """

    __slots__ = ("_attributes", "_reference")

    def __init__(self, error: BaseException) -> None:
        self._reference: weakref.ref[BaseException] | None = None
        self._attributes: dict[str, Any] | None = None
        try:
            self._reference = weakref.ref(error)
        except TypeError:  # Python's own take no weak references, and have hardly any attributes
            self._attributes = vars(error)

    @property
    def is_obsolete(self) -> bool:
        """Whether the exception is gone for sure, and only this mark keeps its attributes alive."""
        if self._reference is not None:
            return self._reference() is None
        return self._references() <= _REFERENCES_OF_A_MARK

    def _references(self) -> int:
        count = getattr(sys, "getrefcount", None)  # CPython's
        return count(self._attributes) if count else sys.maxsize

    def is_of(self, error: BaseException) -> bool:
        if self._reference is not None:
            return self._reference() is error
        return self._attributes is vars(error)


_REFERENCES_OF_A_MARK = min(Mark(ValueError())._references(), 10)
"""Where nothing else refers to the attributes."""


def related(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from or during, and what its group holds; bounded."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _MOST_RELATED:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = [each.__cause__, each.__context__, *_parts(each)]
        waiting += [one for one in inner if isinstance(one, BaseException)]
