"""Tables and a tenant that stay for a module: processes work on them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.db import connection
from pytest_django.plugin import DjangoDbBlocker

from config.home import home_from
from config.postgres.cluster import APP_ROLE, Cluster
from tenants.models import Tenant
from tests.database import superuser
from tests.emptying import empty_database
from tests.faults.alerting import Office
from tests.faults.carrier import query
from tests.faults.models import DROP_TABLES, TABLES
from tests.tenants.factories import make_tenant


@pytest.fixture(scope="module")
def tenant(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Tenant]:
    """The tenant that all work belongs to; all is removed at the end."""
    name = settings.DATABASES["default"]["NAME"]
    with django_db_blocker.unblock(), superuser(Cluster(home_from(os.environ)), name) as admin:
        admin.execute(TABLES)
        admin.execute(f"GRANT ALL ON faults_chore, faults_told, faults_heard TO {APP_ROLE}")
        tenant = make_tenant(name="Faults", slug="faults")
        yield tenant
        for table in ("monitoring_event", "scheduling_leader", "scheduling_wake", "django_q_ormq"):
            query(f"DELETE FROM {table}")
        query("DELETE FROM scheduling_cluster")
        query("DELETE FROM tenants_tenant WHERE id = %s", tenant.pk)
        connection.close()
        admin.execute(DROP_TABLES)


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    office = Office()
    office.open()
    yield office
    office.close()


@pytest.fixture(scope="module")
def cleared(tenant: Tenant) -> Iterator[None]:
    """What all trials leave is removed at the end."""
    yield
    empty_database()
