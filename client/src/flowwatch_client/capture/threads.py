"""Threads belong to the workflow that starts them, and what a thread pool runs to who submitted it.

Only this library's place goes along: the workflow's own context variables stay as Python has them.
"""

from __future__ import annotations

import functools
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from flowwatch_client.capture.place import Place, at, inside

_lock = threading.RLock()
_is_carried = False


def carry() -> None:
    """From now on, in this process. Done once, with the first execution."""
    global _is_carried
    if _is_carried:
        return
    with _lock:
        if _is_carried:
            return
        _carry_into_threads()
        _carry_into_pools()
        _is_carried = True


def _place_to_carry() -> Place | None:
    place = inside()
    return place if place is not None and place.execution.client.settings.threads else None


def _carry_into_threads() -> None:
    start = threading.Thread.start

    @functools.wraps(start)
    def start_here(self: threading.Thread) -> None:
        place = _place_to_carry()
        is_own = self.name.startswith("flowwatch-")
        if place is not None and not is_own and "run" not in self.__dict__:
            self.run = functools.partial(_run_at, place, self)  # type: ignore[method-assign]
        try:
            start(self)
        except BaseException:  # it runs already, or there can be no more threads
            if place is not None and not is_own:
                _leave_run(self)
            raise

    threading.Thread.start = start_here  # type: ignore[method-assign]


def _run_at(place: Place, thread: threading.Thread) -> None:
    _leave_run(thread)  # else the thread would hold itself
    with at(place):
        thread.run()


def _leave_run(thread: threading.Thread) -> None:
    """Only what was put there by this module, if it is there still."""
    run = vars(thread).get("run")
    if isinstance(run, functools.partial) and run.func is _run_at:
        vars(thread).pop("run", None)


def _carry_into_pools() -> None:
    submit: Any = ThreadPoolExecutor.submit

    @functools.wraps(submit)
    def submit_here(
        self: ThreadPoolExecutor, function: Any, /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        place = _place_to_carry()
        if place is None:
            future: Future[Any] = submit(self, function, *args, **kwargs)
            return future
        with at(None):  # the pool's own threads outlive this workflow
            called_here: Future[Any] = submit(self, _call_at, place, function, *args, **kwargs)
        return called_here

    ThreadPoolExecutor.submit = submit_here  # type: ignore[method-assign,assignment]


def _call_at(place: Place, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    with at(place):
        return function(*args, **kwargs)
