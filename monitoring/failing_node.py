"""Which node stopped an execution: the same answer for its row and for its page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Final, Protocol, TypeVar

_LAST: Final = dt.datetime.max.replace(tzinfo=dt.UTC)


class NodeRun(Protocol):
    """What the order of node runs is told by."""

    @property
    def node_id(self) -> str: ...
    @property
    def run_index(self) -> int: ...
    @property
    def position(self) -> int | None: ...
    @property
    def started_at(self) -> dt.datetime | None: ...


Run = TypeVar("Run", bound=NodeRun)


def ran_last(runs: Iterable[Run]) -> Run | None:
    """The run that began last. Of failed ones it is what stopped the execution: it went on after
    those before."""
    return max(
        runs,
        key=lambda run: (run.started_at or _LAST, run.position or 0, run.run_index, run.node_id),
        default=None,
    )
