"""How tick, relay, clusters and due rows are doing: for operators, and whether all must be told."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.models import Count, Max, Min, Q
from django.db.models.functions import Now
from django_q.models import OrmQ

from monitoring.database import database_now
from scheduling.due import AWAKE, Kind, kinds
from scheduling.models import Cluster, Leader
from scheduling.wake import LIVING_SECONDS
from tenants.notices import Notice
from tenants.scoping import across_tenants

# So long after it became due a row that nobody holds is late.
OVERDUE: Final = dt.timedelta(seconds=10)
STALLED_SECONDS: Final = 120.0
LOOK_AGAIN_SECONDS: Final = 10.0
# Counted no further: the page is to say "many", not to add to them.
MOST_EVENTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """One cluster; `last_finished` is when a canary last came through. No pid: it was ended."""

    name: str
    host: str
    pid: int | None
    started_at: dt.datetime
    last_beat: dt.datetime
    last_finished: dt.datetime | None
    restarts: int
    works: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much waits, and since when the first of it does."""

    depth: int
    oldest: dt.datetime | None


@dataclass(frozen=True, slots=True)
class KindStatus:
    """Rows of one kind: due (nobody holds them), overdue among those, leased, quarantined.

    Those of suspended tenants wait for nobody, so they are neither due nor overdue.
    """

    name: str
    due: int
    overdue: int
    leased: int
    quarantined: int
    oldest: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Poison:
    """A row that was given up, and why."""

    kind: str
    row: int
    tenant: str
    quarantined_at: dt.datetime
    error: str


@dataclass(frozen=True, slots=True)
class Status:
    """All of it at one moment of the database's clock."""

    now: dt.datetime
    host: str
    pid: int | None
    last_tick: dt.datetime | None
    last_relay: dt.datetime | None
    outbox: Waiting
    queue: Waiting
    clusters: list[ClusterStatus]
    kinds: list[KindStatus]

    def as_json(self) -> dict[str, Any]:
        """The answer of `/internal/scheduler-status`: kinds by their name."""
        told = asdict(self)
        told["kinds"] = {kind.pop("name"): kind for kind in told["kinds"]}
        return told


def scheduler_status() -> Status:
    """What operators see: one question for each kind and a few more."""
    now = database_now()
    leader = Leader.objects.first()
    with across_tenants():
        return Status(
            now=now,
            host=leader.host if leader else "",
            pid=leader.pid if leader else None,
            last_tick=leader.ticked_at if leader else None,
            last_relay=leader.relayed_at if leader else None,
            outbox=_outbox(),
            queue=_queue(),
            clusters=[_cluster(each, now) for each in Cluster.objects.order_by("name")],
            kinds=[_kind(kind) for kind in sorted(kinds(), key=lambda kind: kind.name)],
        )


def _cluster(cluster: Cluster, now: dt.datetime) -> ClusterStatus:
    living = dt.timedelta(seconds=settings.PACE.seconds(LIVING_SECONDS))
    return ClusterStatus(
        name=cluster.name,
        host=cluster.host,
        pid=cluster.pid,
        started_at=cluster.started_at,
        last_beat=cluster.beat_at,
        last_finished=cluster.finished_at,
        restarts=cluster.restarts,
        works=cluster.pid is not None
        and cluster.finished_at is not None
        and cluster.finished_at > now - living,
    )


def _outbox() -> Waiting:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), min(created_at) FROM"
            " (SELECT created_at FROM monitoring_event ORDER BY id LIMIT %s) AS first",
            [MOST_EVENTS],
        )
        return Waiting(*cursor.fetchone())


def _queue() -> Waiting:
    """Wake-ups that no cluster has fetched."""
    found = OrmQ.objects.filter(lock__lte=Now()).aggregate(depth=Count("pk"), oldest=Min("lock"))
    return Waiting(**found)


def _kind(kind: Kind[Any]) -> KindStatus:
    wanted = AWAKE & Q(quarantined_at__isnull=True, due_at__lte=Now())
    held = Q(leased_until__gt=Now())
    late = dt.timedelta(seconds=settings.PACE.seconds(OVERDUE.total_seconds()))
    counts = kind.model._default_manager.filter(kind.only, due_at__isnull=False).aggregate(
        due=Count("pk", filter=wanted & ~held),
        overdue=Count("pk", filter=wanted & ~held & Q(due_at__lt=Now() - late)),
        leased=Count("pk", filter=held & Q(quarantined_at__isnull=True)),
        quarantined=Count("pk", filter=Q(quarantined_at__isnull=False)),
        oldest=Min("due_at", filter=wanted & ~held),
    )
    return KindStatus(kind.name, **counts)


def poison(limit: int = 20) -> list[Poison]:
    """The rows that were given up last, of all kinds and tenants."""
    with across_tenants():
        found = [
            Poison(kind.name, row.pk, row.tenant.slug, row.quarantined_at, row.last_error)
            for kind in kinds()
            for row in kind.model._default_manager.filter(kind.only, quarantined_at__isnull=False)
            .select_related("tenant")
            .order_by("-quarantined_at")[:limit]
        ]
    return sorted(found, key=lambda each: each.quarantined_at, reverse=True)[:limit]


# --- what everybody is told -------------------------------------------------------------------------
class Watch:
    """Whether anything ticks and some cluster works, looked up now and then by a web process.

    A process that has just started says nothing: the others may be about to start, too.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Count the time without work from now."""
        self._began = time.monotonic()
        self._look_at = self._began + settings.PACE.seconds(STALLED_SECONDS)
        self._notice: Notice | None = None

    def notice(self) -> Notice | None:
        """What pages say when nothing is worked on for two minutes; mostly without a question."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + settings.PACE.seconds(LOOK_AGAIN_SECONDS)
            self._notice = self._look(dt.timedelta(seconds=now - self._began))
        return self._notice

    def _look(self, watched: dt.timedelta) -> Notice | None:
        now = database_now()
        last_tick = Leader.objects.aggregate(last=Max("ticked_at"))["last"]
        last_work = Cluster.objects.aggregate(last=Max("finished_at"))["last"]
        since = min(last_tick or now - watched, last_work or now - watched)
        if now - since < dt.timedelta(seconds=settings.PACE.seconds(STALLED_SECONDS)):
            return None
        return Notice(
            "Scans and alerts are not being worked on since",
            since,
            "Executions are still recorded; what is due happens when the workers are back.",
        )


watch = Watch()
