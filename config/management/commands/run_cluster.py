"""`manage.py run_cluster NAME`: a small cluster of workers and its watchdog."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config.watchdog import Watchdog


class Command(BaseCommand):
    """Runs until it is told to stop."""

    help = (
        "Run two workers for scans, alerts and deliveries, and start them again when they get stuck."
        " Any number may run, on a host each with another NAME. Ends in order at SIGTERM and SIGINT."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the name."""
        parser.add_argument("name", help="names the cluster and its queue, for example a")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until told to stop."""
        Watchdog(options["name"]).run()
