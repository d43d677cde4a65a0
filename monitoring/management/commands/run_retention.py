"""`manage.py run_retention`: remove what is past now, or say what would go."""

from __future__ import annotations

import datetime as dt
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from monitoring.database import database_now
from monitoring.horizon import next_turn
from monitoring.models import RetentionRun
from monitoring.retention import preview, weeks
from monitoring.retention.removal import remove_step, rests_until
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tenants.ui.numbers import filesize


class Command(BaseCommand):
    """Does now, step by step, what the worker does once a day; prints what went."""

    help = (
        "Remove executions that are older than their tenant keeps them, as the worker does once a"
        " day. Works beside it, and may be stopped at any moment."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "slug", nargs="?", help="one tenant; without it, all, and weeks that go as a whole"
        )
        parser.add_argument("--dry-run", action="store_true", help="only say what would go")

    def handle(self, *args: Any, **options: Any) -> None:
        tenants = Tenant.objects.living().order_by("slug")
        if options["slug"] is not None:
            tenants = tenants.filter(slug=options["slug"])
            if not tenants:
                raise CommandError(f"There is no tenant {options['slug']!r}.")
        if options["dry_run"]:
            for tenant in tenants:
                with tenant_scope(tenant):
                    self._tell(tenant)
            return
        begun = database_now()
        if options["slug"] is None:  # the weeks are everybody's
            try:
                self._drop_weeks()
            except KeyboardInterrupt:
                raise CommandError("Stopped; the worker goes on.", returncode=130) from None
        for tenant in tenants:
            with tenant_scope(tenant):
                try:
                    self._remove(tenant, begun)
                except KeyboardInterrupt:
                    raise CommandError(_how_far(tenant), returncode=130) from None

    def _tell(self, tenant: Tenant) -> None:
        found = preview.of(tenant, tenant.retention_days, tenant.retention_minimum)
        least = "at least" if found.is_least else "about"
        self.stdout.write(
            f"{tenant.slug}: {least} {found.removed:,} executions ({filesize(found.bytes)}) from"
            f" before {found.horizon:%Y-%m-%d} would go, {found.kept:,} stay."
        )

    def _remove(self, tenant: Tenant, begun: dt.datetime) -> None:
        self.stdout.write(f"{tenant.slug}: removing …")
        self.stdout.flush()
        while remove_step(tenant):
            pass
        runs = list(RetentionRun.objects.filter(ended_at__gte=begun))
        if not runs:
            turn = rests_until(tenant, database_now())
            why = (
                f"stopped in the pages until {turn:%Y-%m-%d %H:%M} UTC"
                if turn
                else "nothing to remove one by one"
            )
            self.stdout.write(f"{tenant.slug}: {why}.")
            return
        removed, size = sum(run.removed for run in runs), sum(run.bytes for run in runs)
        self.stdout.write(
            f"{tenant.slug}: {removed:,} executions (about {filesize(size)}) from before"
            f" {max(run.horizon for run in runs):%Y-%m-%d} removed,"
            f" {sum(run.kept for run in runs):,} past ones kept."
        )

    def _drop_weeks(self) -> None:
        """All that can go at once; a week that somebody reads just now is left to the worker."""
        self.stdout.write("dropping past weeks …")
        self.stdout.flush()
        while weeks.drop_step():
            pass


def _how_far(tenant: Tenant) -> str:
    """What is said to who stops the command. Needs the tenant's scope."""
    run = RetentionRun.objects.filter(state=RetentionRun.State.RUNNING).first()
    removed = 0 if run is None else run.removed
    turn = next_turn(tenant.pk, database_now())
    return (
        f"Stopped: {removed:,} executions of {tenant.slug} are removed; the worker goes on at"
        f" {turn:%Y-%m-%d %H:%M} UTC, this command when it is called again."
    )
