"""What both decorators need: the function within, its name, and attempts."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, cast

from flowwatch_client.capture.calls import Function, Recording, wrapped

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Wait = float | Callable[[int], float]
"""Seconds between two attempts, or what says them for the attempt that failed."""


_OF_CACHES = ("cache_clear", "cache_info")
"""Methods of what functools.lru_cache makes, which stand in no `__dict__`."""


class Begin(Protocol):
    """Begins to record a call; of several attempts it is told which, and what the one before was."""

    def __call__(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        attempt: int | None = None,
        before: Recording | None = None,
    ) -> Recording | None: ...


def function_within(decorated: Any) -> Function:
    """The function of a static or class method, else what is decorated itself."""
    inner = decorated.__func__ if isinstance(decorated, (staticmethod, classmethod)) else decorated
    if inspect.isclass(inner) or not callable(inner):
        raise TypeError(f"{inner!r} is no function: decorate its methods or what calls it.")
    return cast(Function, inner)


def name_of(function: Function) -> str:
    """`read` for a function, `Importer.read` for a method."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]


def recorded(decorated: Decorated, begin: Begin, attempts: int, wait: Wait) -> Decorated:
    """The function as before, whose calls are recorded and repeated as long as they raise."""
    function = function_within(decorated)
    if attempts <= 1:
        made = wrapped(function, begin)
    elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("A generator can't be repeated: its items are out already.")
    elif inspect.iscoroutinefunction(function):
        made = _repeated_coroutine(function, begin, attempts, wait)
    else:
        made = _repeated(function, begin, attempts, wait)
    vars(made)["__flowwatch__"] = True
    for name in _OF_CACHES:
        if hasattr(function, name):
            vars(made)[name] = getattr(function, name)
    if isinstance(decorated, (staticmethod, classmethod)):
        return type(decorated)(made)
    return cast(Decorated, made)


class _Attempts:
    """Begins to record one attempt after the other."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._before: Recording | None = None
        self.number = 0

    def __call__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Recording | None:
        self._before = self._begin(args, kwargs, self.number, self._before)
        return self._before


def _repeated(function: Function, begin: Begin, most: int, wait: Wait) -> Function:
    @functools.wraps(function)
    def repeated(*args: Any, **kwargs: Any) -> Any:
        attempts = _Attempts(begin)
        attempt = wrapped(function, attempts)
        while True:
            attempts.number += 1
            try:
                return attempt(*args, **kwargs)
            except Exception:  # whatever it raises is tried again
                if attempts.number >= most:
                    raise
            time.sleep(_seconds(wait, attempts.number))

    return repeated


def _repeated_coroutine(function: Function, begin: Begin, most: int, wait: Wait) -> Function:
    @functools.wraps(function)
    async def repeated(*args: Any, **kwargs: Any) -> Any:
        attempts = _Attempts(begin)
        attempt = wrapped(function, attempts)
        while True:
            attempts.number += 1
            try:
                return await attempt(*args, **kwargs)
            except Exception:  # whatever it raises is tried again
                if attempts.number >= most:
                    raise
            await asyncio.sleep(_seconds(wait, attempts.number))

    return repeated


def _seconds(wait: Wait, attempt: int) -> float:
    return max(0.0, wait(attempt) if callable(wait) else wait)
