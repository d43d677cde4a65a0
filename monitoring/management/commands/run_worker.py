"""`manage.py run_worker`: the process that does periodic work."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand

from monitoring.worker import Worker, periodic_jobs


class Command(BaseCommand):
    """Leads or waits to lead, and does the registered periodic jobs until it is told to stop."""

    help = (
        f"Do periodic work: {', '.join(job.name for job in periodic_jobs())}."
        " Several may run; one leads. Ends in order at SIGTERM and SIGINT."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()

        def stop_in_order(number: int, frame: FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGTERM, stop_in_order)
        signal.signal(signal.SIGINT, stop_in_order)
        Worker(stop).run()
