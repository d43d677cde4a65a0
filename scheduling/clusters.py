"""What is known of the clusters of workers, and the canaries that show that one works."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.db.models.functions import Now
from django_q.models import OrmQ
from django_q.tasks import async_task

from scheduling.broker import Wakes
from scheduling.models import Cluster

# Canaries go before everything that waits: a cluster with much to do is not a stuck one.
_AHEAD: Final = dt.timedelta(hours=1)


def canary() -> None:
    """What a worker does with a canary: that it gets here, and its end back, is all there is to it."""


def send_canary(queue: str) -> int:
    """Put a canary first into a cluster's queue; return the id of its row."""
    broker = _Canaries(queue)
    async_task("scheduling.clusters.canary", broker=broker)
    return broker.sent


def still_under_way(canaries: set[int]) -> set[int]:
    """Those of the canaries that have not come through the cluster."""
    return set(OrmQ.objects.filter(pk__in=canaries).values_list("pk", flat=True))


class _Canaries(Wakes):
    sent: int
    ahead = _AHEAD

    def enqueue(self, task: str) -> int:
        """Add the canary before all others and remember its row."""
        self.sent = super().enqueue(task)
        return self.sent


def enter(name: str, host: str, pid: int, restarts: int) -> None:
    """Say that a cluster was started; it does not count as living before its first canary."""
    Cluster.objects.update_or_create(
        name=name,
        defaults={
            "host": host,
            "pid": pid,
            "restarts": restarts,
            "started_at": Now(),
            "beat_at": Now(),
            "finished_at": None,
        },
    )


def beat(name: str, *, finished: bool) -> bool:
    """Say that somebody watches the cluster, and whether a canary came through; False if unknown."""
    told = {"beat_at": Now()} | ({"finished_at": Now()} if finished else {})
    return Cluster.objects.filter(pk=name).update(**told) == 1


def leave(name: str) -> None:
    """Say that a cluster ended in order, and forget what waits for it."""
    Cluster.objects.filter(pk=name).update(pid=None, beat_at=Now())
    OrmQ.objects.filter(key=name).delete()
