"""Where the running code is: in which execution, in which of its nodes.

Asyncio tasks inherit it (contextvars), threads too (`threads`); other processes get it by hand:
`attach(current())`.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from flowwatch_client.capture.execution import Execution


class Place(NamedTuple):
    """An execution and, within one of its nodes, that node's id."""

    execution: Execution
    node_id: str | None = None


here: contextvars.ContextVar[Place | None] = contextvars.ContextVar("flowwatch", default=None)


def inside() -> Place | None:
    """Where this code is; None outside of a workflow, and where it has outlived its workflow."""
    place = here.get()
    return None if place is None or place.execution.is_over else place


def leave(token: contextvars.Token[Place | None]) -> None:
    """Go back to the place before. What another context ends (a collected generator) stays as it is."""
    with contextlib.suppress(ValueError):
        here.reset(token)


def leave_late(token: contextvars.Token[Place | None], place: Place | None) -> None:
    """As `leave`, for what may end at any time: nothing where the code is elsewhere meanwhile.

    A generator that is closed later would send its thread back to where the generator began.
    """
    now = here.get()
    is_within = now is not None and place is not None and now.execution is place.execution
    if now is place or is_within or (now is not None and now.execution.is_over):
        leave(token)


@contextlib.contextmanager
def at(place: Place | None) -> Iterator[None]:
    """Be at that place within the `with` block."""
    token = here.set(place)
    try:
        yield
    finally:
        leave_late(token, place)


_FRAMES_OF_A_START = 5


def _leave_when_multiprocessing_forks() -> None:
    """A pool's process outlives the workflow in which it happened to be started, as a spawned one does.

    The child of the workflow's own `os.fork` stays where it is.
    """
    try:
        frame = sys._getframe(1)
        for _ in range(_FRAMES_OF_A_START):
            if frame.f_globals.get("__name__") == "multiprocessing.popen_fork":
                here.set(None)
                return
            if frame.f_back is None:
                return
            frame = frame.f_back
    except ValueError:
        return


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_when_multiprocessing_forks)
