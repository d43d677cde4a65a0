"""How the installation is doing when it is asked: carrier, due rows, database."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Sequence

from django.db import DatabaseError
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.disk import database_disk
from monitoring.worker import is_led
from scheduling.database_status import database_figures
from scheduling.status import Status, Waiting, scheduler_status


def text() -> bytes:
    """The gauges; without a database only that it is down."""
    registry = CollectorRegistry()
    registry.register(_Installation())
    return generate_latest(registry)


class _Installation(Collector):
    def collect(self) -> Iterable[Metric]:
        try:
            found = [*_of_database(), *_of_carrier(scheduler_status())]
        except DatabaseError:
            found = [_gauge("database_up", "Whether the database answers.", 0)]
        yield from found
        # Also while the database is down: that may be the reason.
        if (disk := database_disk()) is not None:
            yield _gauge("disk_free_bytes", "Room on the database's disk.", disk.free_bytes)
            yield _gauge("disk_size_bytes", "Size of the database's disk.", disk.size_bytes)
            yield _gauge("disk_full", "Whether ingest is refused for it.", disk.is_full)


def _gauge(name: str, about: str, value: float, **labels: str) -> Metric:
    return _gauges(name, about, [*labels], [([*labels.values()], value)])


def _gauges(
    name: str, about: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    family = GaugeMetricFamily(f"flowwatch_{name}", about, labels=labels)
    for each, value in values:
        family.add_metric(each, value)
    return family


def _of_database() -> Iterator[Metric]:
    figures = database_figures()
    yield _gauge("database_up", "Whether the database answers.", 1)
    yield _gauge("database_bytes", "What the database takes of the disk.", figures.size_bytes)
    yield _gauge("database_connections", "Sessions of all processes.", figures.connections)
    yield _gauge("database_max_connections", "The most it allows.", figures.max_connections)
    yield _gauge("deltas_waiting", "About how many deltas wait to be folded.", figures.deltas)
    yield _gauge("partitions", "Partitions for executions.", figures.partitions)
    if figures.partitions_until is not None:
        yield _gauge(
            "partitions_until_timestamp_seconds",
            "Until when executions have partitions of their own.",
            figures.partitions_until.timestamp(),
        )


def _of_carrier(status: Status) -> Iterator[Metric]:
    yield _gauge("worker_leads", "Whether a worker folds, marks and deletes.", is_led())
    for name, what, at in (
        ("tick", "something looked at what is due", status.last_tick),
        ("relay", "events were relayed", status.last_relay),
    ):
        age = math.inf if at is None else _age(at, status.now)  # never: a rule "> 60" must see it
        yield _gauge(f"{name}_age_seconds", f"Since {what}.", age)
    yield from _waiting("outbox", "Events that wait for the relay.", status.outbox, status.now)
    yield from _waiting("wakeups", "Wake-ups that wait for workers.", status.queue, status.now)
    yield _gauges(
        "due_rows",
        "Rows of work by their kind: due ones nobody holds, overdue ones are late.",
        ["kind", "state"],
        [
            ([kind.name, state], number)
            for kind in status.kinds
            for state, number in (
                ("due", kind.due),
                ("overdue", kind.overdue),
                ("leased", kind.leased),
                ("quarantined", kind.quarantined),
            )
        ],
    )
    yield _gauges(
        "due_oldest_seconds",
        "How long the first due row of a kind has waited.",
        ["kind"],
        [([kind.name], _age(kind.oldest, status.now)) for kind in status.kinds],
    )
    yield _gauges(
        "cluster_works",
        "Whether a cluster of workers has shown lately that it works.",
        ["cluster"],
        [([each.name], each.works) for each in status.clusters],
    )
    yield _gauges(
        "cluster_restarts",
        "How often the watchdog has started a cluster again.",
        ["cluster"],
        [([each.name], each.restarts) for each in status.clusters],
    )


def _waiting(name: str, about: str, waiting: Waiting, now: dt.datetime) -> Iterator[Metric]:
    yield _gauge(f"{name}_waiting", about, waiting.depth)
    yield _gauge(
        f"{name}_oldest_seconds", "How long the first of them has.", _age(waiting.oldest, now)
    )


def _age(since: dt.datetime | None, now: dt.datetime) -> float:
    """Seconds, 0 when nothing waits."""
    return max(0.0, (now - since).total_seconds()) if since else 0.0
