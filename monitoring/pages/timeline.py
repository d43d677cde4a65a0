"""An execution's nodes on one time axis: work, waits, and what was never reached."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from monitoring.models import Execution, NodeExecution
from monitoring.words import Status
from tenants.ui.drawings import Bar, bar
from tenants.ui.numbers import duration

MOST_ROWS: Final = 100
"""Nodes that one view of the timeline draws."""

IN_SIGHT: Final = 20
"""Rows that are seen without scrolling: a failing node further down is brought into sight."""

_CONTEXT: Final = 8

MOST_BARS: Final = 60
"""Runs of one node that are drawn each for itself; more are drawn as one stretch."""

_NOT_REACHED: Final = frozenset({Status.PENDING, Status.SKIPPED})
_WAIT_TYPES: Final = ("wait", "delay", "sleep", "approval")


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node with all its runs, as `components/waterfall.html` draws it."""

    name: str
    status: str
    bars: tuple[Bar, ...]
    note: str
    duration_ms: int | None
    url: str
    is_selected: bool
    attempts: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rows on an axis of `whole_ms`; `first` nodes come before them and `hidden` ones after.

    `work_ms` and `wait_ms` are the time in which some node worked, or else one waited; `idle_ms`
    the time in which none did either. `has_times`: some node's times are known.
    """

    rows: list[NodeRow]
    whole_ms: float
    first: int
    hidden: int
    work_ms: float
    wait_ms: float
    idle_ms: float
    has_times: bool

    @property
    def axis_ms(self) -> float:
        """What the axis shows; 0 when nothing has a place on it."""
        return self.whole_ms if self.has_times else 0.0


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a node on the axis; `starts` None: its times were not sent."""

    node: NodeExecution
    starts: float | None
    lasts: float

    @property
    def is_wait(self) -> bool:
        return is_wait(self.node)


NodeUrl = Callable[[NodeExecution], str]


def is_wait(node: NodeExecution) -> bool:
    """Whether a node waits for time, a person or a call instead of working."""
    if node.state is Status.WAITING:
        return True
    kind = (node.type or "").rpartition(".")[2].lower()
    return kind.startswith(_WAIT_TYPES)


def timeline_of(
    execution: Execution,
    nodes: Sequence[NodeExecution],
    *,
    now: dt.datetime,
    url: NodeUrl,
    selected: str | None,
    first: int = 0,
) -> Timeline:
    """Arrange nodes (in their order) by node, drawn from the `first` on."""
    begin, whole_ms = _axis(execution, nodes, now)
    by_node: dict[str, list[_Run]] = {}
    for node in nodes:
        by_node.setdefault(node.node_id, []).append(_run(node, begin, now, execution))
    runs = [run for of_node in by_node.values() for run in of_node]
    worked = _covered([run for run in runs if not run.is_wait])
    either = _covered(runs)
    shown = list(by_node.values())[first : first + MOST_ROWS]
    return Timeline(
        rows=[_row(of_node, whole_ms, url, selected) for of_node in shown],
        whole_ms=whole_ms,
        first=first,
        hidden=max(len(by_node) - first - MOST_ROWS, 0),
        work_ms=worked,
        wait_ms=either - worked,
        idle_ms=max(whole_ms - either, 0.0) if either else 0.0,
        has_times=any(run.starts is not None for run in runs),
    )


def first_in_sight(nodes: Sequence[NodeExecution], selected: str | None) -> int:
    """Where to begin drawing so that the selected node is seen: just before it, if far down."""
    node_ids = list(dict.fromkeys(node.node_id for node in nodes))
    place = node_ids.index(selected) if selected in node_ids else 0
    return max(place - _CONTEXT, 0) if place >= IN_SIGHT else 0


def _axis(
    execution: Execution, nodes: Sequence[NodeExecution], now: dt.datetime
) -> tuple[dt.datetime, float]:
    """Where the axis begins, and its length in milliseconds (more than 0)."""
    begins = [node.started_at for node in nodes if node.started_at]
    begin = (
        min([execution.started, *begins])
        if execution.started_at
        else min(begins, default=execution.started)
    )
    ends = [execution.completed_at] if execution.completed_at else []
    ends += [end for node in nodes if (end := _end_of(node, execution, now))]
    if not execution.state.is_finished:
        ends.append(now)
    longest = max((_ms(end - begin) for end in ends), default=0.0)
    return begin, max(longest, float(execution.duration_ms or 0), 1.0)


def _end_of(node: NodeExecution, execution: Execution, now: dt.datetime) -> dt.datetime | None:
    """When a node's bar ends; nothing where its length is unknown."""
    if node.started_at is None or node.state in _NOT_REACHED:
        return None
    if node.duration_ms is not None:
        # The sender's own figure wins over a difference of clocks.
        return node.started_at + dt.timedelta(milliseconds=node.duration_ms)
    if node.completed_at is not None:
        return max(node.completed_at, node.started_at)
    if not node.state.is_finished and not execution.state.is_finished:
        return max(now, node.started_at)
    return node.started_at


def _run(node: NodeExecution, begin: dt.datetime, now: dt.datetime, execution: Execution) -> _Run:
    end = _end_of(node, execution, now)
    if end is None or node.started_at is None:
        return _Run(node, None, 0.0)
    return _Run(node, _ms(node.started_at - begin), _ms(end - node.started_at))


def _row(runs: list[_Run], whole_ms: float, url: NodeUrl, selected: str | None) -> NodeRow:
    worst = _worst(runs)
    drawn = [run for run in runs if run.starts is not None]
    durations = [run.node.duration_ms for run in runs if run.node.duration_ms is not None]
    return NodeRow(
        name=worst.node.title,
        status=worst.node.state.slug,
        bars=_bars(drawn, whole_ms),
        note="" if drawn else _note(worst.node),
        duration_ms=sum(durations) if durations else None,
        url=url(worst.node),
        is_selected=worst.node.node_id == selected,
        attempts=len(runs),
    )


def _worst(runs: list[_Run]) -> _Run:
    """The run that a row leads to: a failed one, else the last."""
    failed = [run for run in runs if run.node.state.is_problem]
    return failed[0] if failed else runs[-1]


def _bars(drawn: list[_Run], whole_ms: float) -> tuple[Bar, ...]:
    if len(drawn) > MOST_BARS:
        starts = min(run.starts or 0.0 for run in drawn)
        ends = max((run.starts or 0.0) + run.lasts for run in drawn)
        return (bar(starts, ends - starts, whole_ms, "work"),)
    return tuple(
        bar(run.starts or 0.0, run.lasts, whole_ms, "wait" if run.is_wait else "work")
        for run in drawn
    )


def _note(node: NodeExecution) -> str:
    if node.state is Status.SKIPPED:
        return "skipped"
    if node.state is Status.PENDING:
        return "not reached"
    if node.duration_ms is not None:
        return f"took {duration(node.duration_ms)}, start not sent"
    return "times not sent"


def _covered(runs: Sequence[_Run]) -> float:
    """Milliseconds of the axis that the runs cover together."""
    covered, reached = 0.0, 0.0
    for starts, lasts in sorted((run.starts, run.lasts) for run in runs if run.starts is not None):
        ends = starts + lasts
        covered += max(ends - max(starts, reached), 0.0)
        reached = max(reached, ends)
    return covered


def _ms(span: dt.timedelta) -> float:
    return span / dt.timedelta(milliseconds=1)
