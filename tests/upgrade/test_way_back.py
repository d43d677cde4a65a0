"""Migrations are undone only where nothing is lost by it."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from config.roles import on_database
from monitoring.models import Seal
from tenants.models import Tenant
from tenants.scoping import across_tenants
from tests.config.backups import database, rows

pytestmark = [pytest.mark.store, pytest.mark.usefixtures("django_db_setup")]


def test_seals_are_not_dropped(django_db_blocker: DjangoDbBlocker) -> None:
    """Without them, numbers that outlive their executions are taken for wrong, and repaired away."""
    with (
        database("back", migrated=True) as place,
        django_db_blocker.unblock(),
        on_database(place.database),
    ):
        tenant = Tenant.objects.create(name="Northwind", slug="northwind")
        with across_tenants():
            Seal.objects.create(tenant=tenant, until=timezone.now())
        with pytest.raises(CommandError, match=r"retention has removed executions.*backup"):
            call_command("migrate", "monitoring", "0010", verbosity=0)
        assert rows(place, "SELECT count(*) FROM monitoring_seal") == [(1,)]
        call_command("migrate", verbosity=0)
        with across_tenants():
            Seal.objects.all().delete()
        call_command("migrate", "monitoring", "0010", verbosity=0)
        assert rows(place, "SELECT to_regclass('monitoring_seal')") == [(None,)]
