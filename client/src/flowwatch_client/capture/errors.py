"""What is told of an exception: its status, message and stack."""

from __future__ import annotations

import asyncio
import concurrent.futures
import traceback
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowwatch_client.rows import CANCELED, ERROR, SUCCESS
from flowwatch_client.signals import raised_by_handler

_OWN_FOLDER = str(Path(__file__).resolve().parents[1])
_MOST_RELATED = 50


def status_of(error: BaseException | None) -> str:
    """How something ended that was left by this exception (None: by none).

    Closing a generator early and `sys.exit(0)` are ways to be done.
    """
    if error is None or isinstance(error, GeneratorExit):
        return SUCCESS
    if isinstance(error, SystemExit):
        return SUCCESS if error.code in (None, 0) else ERROR
    if isinstance(error, _CANCELS):
        return CANCELED
    return ERROR


_CANCELS = (KeyboardInterrupt, asyncio.CancelledError, concurrent.futures.CancelledError)


def message_of(error: BaseException) -> str:
    """“ValueError: what it says”."""
    try:
        text = str(error)
    except Exception as trouble:  # its own text may raise
        if raised_by_handler(trouble):
            raise
        text = "[its text can't be read]"
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def stack_of(error: BaseException) -> str:
    """The traceback as Python prints it, without this library's own frames."""
    try:
        told = traceback.TracebackException.from_exception(error)
        _leave_own_frames_out(told, 0)
        return "".join(told.format())
    except Exception as trouble:  # its text raises; its chain is longer than Python's stack
        return f"[the stack can't be read: {type(trouble).__name__}]"


def _leave_own_frames_out(told: traceback.TracebackException, depth: int) -> None:
    told.stack[:] = [frame for frame in told.stack if not frame.filename.startswith(_OWN_FOLDER)]
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

    def is_of(self, error: BaseException) -> bool:
        if self._reference is not None:
            return self._reference() is error
        return self._attributes is vars(error)


def related(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it was raised from or during, and what its group holds; bounded."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _MOST_RELATED:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        parts = getattr(each, "exceptions", ())
        inner = [each.__cause__, each.__context__, *(parts if isinstance(parts, tuple) else ())]
        waiting += [one for one in inner if isinstance(one, BaseException)]
