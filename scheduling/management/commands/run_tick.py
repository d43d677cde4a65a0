"""`manage.py run_tick`: the process that relays events and wakes workers."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand

from monitoring.worker import Worker
from scheduling.tick import TICK_LOCK, jobs

STUCK_SECONDS: Final = 60.0


class Command(BaseCommand):
    """Leads or waits to lead, and relays and ticks until it is told to stop."""

    help = (
        "Relay events and wake workers for what is due. Several may run; one leads. Ends in order"
        " at SIGTERM and SIGINT."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until told to stop."""
        stop = threading.Event()

        def stop_in_order(number: int, frame: FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGTERM, stop_in_order)
        signal.signal(signal.SIGINT, stop_in_order)
        Worker(stop, jobs(), lock=TICK_LOCK, pulse=_put_off_alarm).run()


def _put_off_alarm() -> None:
    """Let the kernel end this process when it does not come back here for a minute.

    The supervisor starts it again, and the relay finds out what it died of.
    """
    signal.setitimer(signal.ITIMER_REAL, settings.PACE.seconds(STUCK_SECONDS))
