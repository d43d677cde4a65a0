"""`manage.py verify_rollups`: do the numbers equal the raw rows?"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from monitoring.metrics.verification import Report, verify
from tenants.models import Tenant


class Command(BaseCommand):
    """Recomputes rollups from raw rows; prints differences and exits with 1 when there are any."""

    help = (
        "Recompute all rollups and workflow statistics from the executions and print every"
        " difference. Works beside running ingest. Exits with 1 when something differs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", nargs="?", help="one tenant; without it, all")
        parser.add_argument(
            "--repair", action="store_true", help="rewrite what differs; then exit with 0"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        reports = [
            self._verify(tenant, repair=options["repair"]) for tenant in _tenants(options["slug"])
        ]
        if any(report.differences for report in reports) and not options["repair"]:
            sys.exit(1)

    def _verify(self, tenant: Tenant, *, repair: bool) -> Report:
        report = verify(
            tenant,
            repair=repair,
            tell=lambda difference: self.stdout.write(f"{tenant.slug}: {difference}"),
        )
        self.stdout.write(f"{tenant.slug}: {_summary(report, repair)}")
        return report


def _tenants(slug: str | None) -> list[Tenant]:
    """Tenants that are being deleted lose their rows step by step: nothing to compare there."""
    tenants = Tenant.objects.living().order_by("slug")
    if slug is None:
        return list(tenants)
    found = tenants.filter(slug=slug).first()
    if found is None:
        raise CommandError(f"There is no tenant {slug!r}.")
    return [found]


def _summary(report: Report, repair: bool) -> str:
    text = f"{report.compared} rows of {report.days} days compared"
    if report.sealed:
        text += f", {report.sealed} sealed days skipped (their raw rows are gone)"
    if not report.differences:
        return f"{text}, no difference."
    return f"{text}, {report.differences} differences{' repaired' if repair else ''}."
