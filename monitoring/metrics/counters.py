"""Counters of one bucket while they are added up in Python."""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from monitoring.counting.histogram import Histogram
from monitoring.metrics.timerange import floor_to
from monitoring.models import Level, Subject
from monitoring.words import ErrorClass, Status

ROLLUP_ARRAYS: Final = (
    ("counts", len(Status)),
    ("duration_sums", len(Status)),
    ("duration_counts", len(Status)),
    ("error_classes", len(ErrorClass)),
)
"""The arrays of a rollup and of a delta, in the order in which `Counters.numbers` holds them."""

_GREATEST_BIGINT: Final = 2**63 - 1

_Key = TypeVar("_Key", bound=Hashable)


class Counters:
    """Numbers that are added place by place, and a histogram.

    Of executions: the four arrays of a rollup, one after the other. Of a node: counts by Status,
    duration count, duration sum.
    """

    __slots__ = ("histogram", "numbers")

    def __init__(self, numbers: Sequence[int], histogram: Histogram | None = None) -> None:
        self.numbers = list(numbers)
        self.histogram = histogram or Histogram()

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Counters)
            and self.numbers == other.numbers
            and self.histogram == other.histogram
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Counters({self.numbers}, {self.histogram})"

    def add(self, other: Counters) -> None:
        self.numbers = [a + b for a, b in zip(self.numbers, other.numbers, strict=True)]
        self.histogram.merge(other.histogram)

    def subtract(self, other: Counters) -> None:
        self.numbers = [a - b for a, b in zip(self.numbers, other.numbers, strict=True)]
        self.histogram.add_slots((slot, -count) for slot, count in other.histogram.slots.items())

    @classmethod
    def sum(cls, parts: Sequence[Counters]) -> Counters:
        """The sum of at least one, as a copy."""
        total = parts[0].copy()
        for part in parts[1:]:
            total.add(part)
        return total

    def copy(self) -> Counters:
        return Counters(self.numbers, self.histogram.copy())

    @property
    def is_zero(self) -> bool:
        return not any(self.numbers) and not any(self.histogram.slots.values())

    def arrays(self) -> list[str]:
        """The four arrays of a rollup as literals of PostgreSQL."""
        literals, start = [], 0
        for _, length in ROLLUP_ARRAYS:
            literals.append(array_literal(self.numbers[start : start + length]))
            start += length
        return literals


class WorkflowBucket(NamedTuple):
    """Where a delta counts."""

    tenant_id: int
    environment_id: int
    workflow_id: int
    bucket: dt.datetime


class RollupKey(NamedTuple):
    """Primary key of a rollup; its order is the order in which rows are written."""

    tenant_id: int
    subject_kind: int
    subject_id: int
    level: int
    bucket: dt.datetime


class NodeKey(NamedTuple):
    """Primary key of a node rollup."""

    tenant_id: int
    workflow_id: int
    level: int
    bucket: dt.datetime
    node_id: str


def rollup_keys(place: WorkflowBucket) -> Iterator[RollupKey]:
    """Every rollup in which an execution of that place counts."""
    subjects = (
        (Subject.TENANT, place.tenant_id),
        (Subject.ENVIRONMENT, place.environment_id),
        (Subject.WORKFLOW, place.workflow_id),
    )
    for level in Level:
        bucket = floor_to(place.bucket, level.length)
        for kind, subject_id in subjects:
            yield RollupKey(place.tenant_id, int(kind), subject_id, int(level), bucket)


def node_keys(place: WorkflowBucket, node_id: str) -> Iterator[NodeKey]:
    """Every node rollup in which a node of an execution of that place counts."""
    for level in (Level.HOUR, Level.DAY):
        bucket = floor_to(place.bucket, level.length)
        yield NodeKey(place.tenant_id, place.workflow_id, int(level), bucket, node_id)


def add_at(rows: dict[_Key, Counters], key: _Key, counters: Counters) -> None:
    """Add counters to those of a key."""
    known = rows.get(key)
    if known is None:
        rows[key] = counters.copy()
    else:
        known.add(counters)


def array_literal(numbers: Sequence[int]) -> str:
    """Numbers as a bigint[] literal; what no bigint can hold stops at the greatest.

    Senders may claim absurd durations; their sum must not stop the folding for everybody.
    """
    return (
        "{"
        + ",".join(str(max(-_GREATEST_BIGINT, min(number, _GREATEST_BIGINT))) for number in numbers)
        + "}"
    )
