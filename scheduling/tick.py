"""The tick: looks five times a second at what is due, by the database's clock, and wakes workers.

It shares its process, the lead and the database session with the relay (`manage.py run_tick`).
"""

from __future__ import annotations

import datetime as dt
import os
import socket
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now
from django_q.models import OrmQ, Task

from monitoring.worker import PeriodicJob
from scheduling.due import kinds
from scheduling.models import Cluster, Leader
from scheduling.relay import Relay
from scheduling.wake import know_kinds, wake
from tenants.scoping import across_tenants

TICK_LOCK: Final = 0x7469_636B  # "tick"
TICK_SECONDS: Final = 0.2
PULSE_SECONDS: Final = 2.0
FORGOTTEN_AFTER: Final = dt.timedelta(days=1)


def jobs() -> list[PeriodicJob]:
    """What the leading process does, in turns."""
    relay, tick = Relay(), Tick()

    def tell() -> bool:
        _tell(relay, tick)
        return False

    often = dt.timedelta(seconds=settings.PACE.seconds(TICK_SECONDS))
    pulse = dt.timedelta(seconds=settings.PACE.seconds(PULSE_SECONDS))
    return [
        PeriodicJob("relay", often, relay.step),
        PeriodicJob("tick", often, tick.step),
        PeriodicJob("tell", pulse, tell),
        PeriodicJob("forget the gone", dt.timedelta(minutes=1), forget_the_gone),
    ]


@dataclass
class Tick:
    """One statement over the indexes of all kinds; `did_step` since that was last asked."""

    did_step: bool = False
    _statement: str = field(init=False)
    _values: list[Any] = field(init=False)

    def __post_init__(self) -> None:
        parts, self._values = [], []
        with across_tenants():
            for kind in kinds():
                sql, values = kind.due().order_by().values("pk").query.sql_with_params()
                parts.append(f"SELECT %s::text WHERE EXISTS ({sql})")
                self._values += [kind.name, *values]
        self._statement = " UNION ALL ".join(parts)
        self._are_known = False

    def step(self) -> bool:
        """Wake workers for the kinds of which something is due."""
        if not self._are_known:
            know_kinds([kind.name for kind in kinds()])
            self._are_known = True
        for name in self.due_kinds():
            wake(name)
        self.did_step = True
        return False

    def due_kinds(self) -> list[str]:
        """Names of the kinds of which somebody could claim a row now."""
        with connection.cursor() as cursor:
            cursor.execute(self._statement, self._values)
            return [name for (name,) in cursor.fetchall()]


def _tell(relay: Relay, tick: Tick) -> None:
    """Say who leads and what it did since; not worth waiting for the disk."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit TO off")
        did: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid()}
        if tick.did_step:
            did["ticked_at"] = Now()
        if relay.did_step:
            did["relayed_at"] = Now()
        Leader.objects.update_or_create(pk=1, defaults=did)
    tick.did_step = relay.did_step = False


def forget_the_gone() -> bool:
    """Forget clusters that nobody has watched for long, queues of unknown ones, failed wake-ups."""
    Task.objects.filter(stopped__lt=Now() - FORGOTTEN_AFTER).delete()
    Cluster.objects.filter(beat_at__lt=Now() - FORGOTTEN_AFTER).delete()
    OrmQ.objects.exclude(key__in=Cluster.objects.values("name")).delete()
    return False
