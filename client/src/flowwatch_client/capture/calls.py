"""Wraps functions of all kinds: plain ones, coroutines, generators and asynchronous generators.

The wrapper stays of the function's kind, and what comes out of it (results, exceptions, items) are the
same objects. `begin` says what a call is recorded as; None leaves the call alone.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import Any, Protocol

from flowwatch_client.capture.place import Place, here, leave, leave_late


class Recording(Protocol):
    """A call that is being recorded. No method raises."""

    @property
    def place(self) -> Place:
        """Where its code is."""

    def yielded(self, item: Any) -> None: ...

    def exhausted(self) -> None:
        """A generator has ended, or its caller had enough of it."""

    def succeeded(self, result: Any) -> None: ...

    def failed(self, error: BaseException) -> None: ...


Begin = Callable[[tuple[Any, ...], Mapping[str, Any]], "Recording | None"]
Function = Callable[..., Any]


def wrapped(function: Function, begin: Begin) -> Function:
    """The function, whose calls are recorded."""
    if inspect.iscoroutinefunction(function):
        return _coroutine(function, begin)
    if inspect.isasyncgenfunction(function):
        return _asynchronous_generator(function, begin)
    if inspect.isgeneratorfunction(function):
        return _generator(function, begin)
    return _plain(function, begin)


def _plain(function: Function, begin: Begin) -> Function:
    @functools.wraps(function)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        recording = begin(args, kwargs)
        if recording is None:
            return function(*args, **kwargs)
        token = here.set(recording.place)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:  # recorded, and raised again
            leave(token)
            recording.failed(error)
            raise
        leave(token)
        recording.succeeded(result)
        return result

    return recorded


def _coroutine(function: Function, begin: Begin) -> Function:
    @functools.wraps(function)
    async def recorded(*args: Any, **kwargs: Any) -> Any:
        recording = begin(args, kwargs)
        if recording is None:
            return await function(*args, **kwargs)
        place = recording.place
        token = here.set(place)
        try:
            result = await function(*args, **kwargs)
        except GeneratorExit:  # closed while it waited, as a loop does that ends
            leave_late(token, place)
            recording.failed(asyncio.CancelledError("closed before it ended"))
            raise
        except BaseException as error:  # recorded, and raised again
            leave(token)
            recording.failed(error)
            raise
        leave(token)
        recording.succeeded(result)
        return result

    return recorded


def _generator(function: Function, begin: Begin) -> Function:
    @functools.wraps(function)
    def recorded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        recording = begin(args, kwargs)
        if recording is None:
            return (yield from function(*args, **kwargs))
        try:
            result = yield from _Steps(function(*args, **kwargs), recording)
        except GeneratorExit:
            recording.exhausted()
            raise
        except BaseException as error:  # recorded, and raised again
            recording.failed(error)
            raise
        recording.exhausted()
        return result

    return recorded


class _Steps:
    """A generator whose code runs at a place: between its steps, its caller is where it was."""

    def __init__(self, generator: Generator[Any, Any, Any], recording: Recording) -> None:
        self._generator = generator
        self._recording = recording
        self._place = recording.place

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Any:
        return self._step(self._generator.__next__)

    def send(self, value: Any) -> Any:
        return self._step(self._generator.send, value)

    def throw(self, *error: Any) -> Any:
        """An exception; up to Python 3.11 contextlib throws its kind, itself and its traceback."""
        return self._step(self._generator.throw, *error)

    def close(self) -> None:
        token = here.set(self._place)
        try:
            self._generator.close()
        finally:
            leave(token)

    def _step(self, step: Function, *args: Any) -> Any:
        token = here.set(self._place)
        try:
            item = step(*args)
        finally:
            leave(token)
        self._recording.yielded(item)
        return item


def _asynchronous_generator(function: Function, begin: Begin) -> Function:
    @functools.wraps(function)
    async def recorded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        recording = begin(args, kwargs)
        steps = _AsynchronousSteps(function(*args, **kwargs), recording)
        try:
            step = steps.first()
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    break
                try:
                    sent = yield item
                except GeneratorExit:
                    await steps.close()
                    raise
                except BaseException as error:  # it goes on into the generator
                    step = steps.throw(error)
                else:
                    step = steps.send(sent)
        except GeneratorExit:
            if recording is not None:
                recording.exhausted()
            raise
        except BaseException as error:  # recorded, and raised again
            if recording is not None:
                recording.failed(error)
            raise
        if recording is not None:
            recording.exhausted()

    return recorded


class _AsynchronousSteps:
    """An asynchronous generator whose code runs at the recording's place, if there is one."""

    def __init__(self, generator: AsyncGenerator[Any, Any], recording: Recording | None) -> None:
        self._generator = generator
        self._recording = recording

    def first(self) -> Awaitable[Any]:
        return self._step(self._generator.__anext__())

    def send(self, value: Any) -> Awaitable[Any]:
        return self._step(self._generator.asend(value))

    def throw(self, error: BaseException) -> Awaitable[Any]:
        return self._step(self._generator.athrow(error))

    async def close(self) -> None:
        await self._at_place(self._generator.aclose())

    async def _step(self, step: Awaitable[Any]) -> Any:
        item = await self._at_place(step)
        if self._recording is not None:
            self._recording.yielded(item)
        return item

    async def _at_place(self, step: Awaitable[Any]) -> Any:
        if self._recording is None:
            return await step
        token = here.set(self._recording.place)
        try:
            return await step
        finally:
            leave(token)
