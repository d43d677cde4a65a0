"""Where the running code is: in which execution, in which of its nodes.

Asyncio tasks inherit it (contextvars), threads too (`threads`); other processes get it by hand:
`attach(current())`.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from flowwatch_client.capture.execution import Execution


class Place(NamedTuple):
    """An execution and, within one of its nodes, that node's id."""

    execution: Execution
    node_id: str | None = None


here: contextvars.ContextVar[Place | None] = contextvars.ContextVar("flowwatch", default=None)


def leave(token: contextvars.Token[Place | None]) -> None:
    """Go back to the place before. What another context ends (a collected generator) stays as it is."""
    with contextlib.suppress(ValueError):
        here.reset(token)


@contextlib.contextmanager
def at(place: Place | None) -> Iterator[None]:
    """Be at that place within the `with` block."""
    token = here.set(place)
    try:
        yield
    finally:
        leave(token)
