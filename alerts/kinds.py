"""The kinds of due rows of this app: checks of workflows, news of scans, and a channel's targets."""

from __future__ import annotations

from typing import Final

from django.db.models import Q

from alerts import checks, delivery
from alerts.channels.registry import channels, kind_of_channel
from alerts.models import Check, ScanNews, Target
from scheduling.due import Kind, register_kind

LEASE_SECONDS: Final = 120.0
"""Longer than any channel's deadline, so that a slow receiver does not get the same twice."""

AT_ONCE: Final = 8
"""Receivers of one channel that a worker waits for at once."""


def register() -> None:
    """Make them known to the tick. Channels don't wait for each other."""
    # In a storm all workers would look at workflows, and posts wait for the processors.
    looks = Kind(
        checks.KIND,
        model=Check,
        work=checks.look_at_workflow,
        at_once=20,
        together=checks.look_at_workflows,
        spreads=False,
    )
    register_kind(looks)
    register_kind(Kind(checks.SCAN_KIND, model=ScanNews, work=checks.look_at_scan))
    for slug in channels():
        register_kind(
            Kind(
                kind_of_channel(slug),
                model=Target,
                work=delivery.deliver_next,
                lease_seconds=LEASE_SECONDS,
                only=Q(channel=slug),
                threads=AT_ONCE,
                urgent=True,
                on_quarantine=delivery.give_up,
            )
        )
