"""What the next version's dump is made of can still be stored."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from monitoring.models import Execution
from monitoring.words import Status
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.upgrade.edge_cases import build

pytestmark = pytest.mark.store


@pytest.mark.django_db(transaction=True)
def test_a_dump_of_today_would_hold_every_status_and_every_age() -> None:
    tenant = Tenant.objects.get(pk=build().tenant)
    with tenant_scope(tenant):
        found = list(Execution.objects.all())
    assert {each.status for each in found} == set(Status)
    oldest = min(each.started_at for each in found if each.started_at)
    assert oldest < timezone.now() - dt.timedelta(days=399)
