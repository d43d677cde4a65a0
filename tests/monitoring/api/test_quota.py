"""Quotas: a tenant that sends more than it may is told to come back, and nobody else notices."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from django.utils import timezone

from monitoring.models import Execution, QuotaUse
from tenants.models import Tenant
from tenants.scoping import across_tenants
from tests.monitoring.api.conftest import Api

pytestmark = [pytest.mark.django_db, pytest.mark.store]
MESSAGE = {"workflowId": "w", "status": "success"}


@pytest.fixture
def limited(tenant: Tenant) -> Tenant:
    tenant.executions_per_minute = 3
    tenant.save()
    return tenant


def pass_time(seconds: float) -> None:
    with across_tenants():
        for use in QuotaUse.objects.all():
            use.at = timezone.now() - dt.timedelta(seconds=seconds)
            use.save()


def stored() -> int:
    with across_tenants():
        return Execution.objects.count()


@pytest.mark.usefixtures("limited")
def test_more_than_the_quota_is_refused_until_some_is_forgotten(api: Api, rival: Api) -> None:
    assert [api.post("/api/executions", MESSAGE).status_code for _ in range(3)] == [201] * 3
    refused = api.post("/api/executions", MESSAGE)
    assert refused.status_code == 429
    assert refused.json()["type"] == "/problems/too-many"
    assert 1 <= int(refused["Retry-After"]) <= 21
    assert stored() == 3
    assert rival.post("/api/executions", MESSAGE).status_code == 201
    pass_time(21)
    assert api.post("/api/executions", MESSAGE).status_code == 201
    assert api.post("/api/executions", MESSAGE).status_code == 429


@pytest.mark.usefixtures("limited")
def test_a_batch_larger_than_the_quota_passes_and_is_waited_for(api: Api) -> None:
    lines = b"\n".join(json.dumps(MESSAGE | {"id": str(each)}).encode() for each in range(9))
    ndjson = {"content_type": "application/x-ndjson"}
    assert api.send("POST", "/api/executions/batch", lines, **ndjson).status_code == 200
    refused = api.send("POST", "/api/executions/batch", lines, **ndjson)
    assert refused.status_code == 429
    assert 120 <= int(refused["Retry-After"]) <= 141
    assert stored() == 9
    pass_time(60)
    assert api.post("/api/executions", MESSAGE).status_code == 429
    pass_time(int(refused["Retry-After"]))
    assert api.post("/api/executions", MESSAGE).status_code == 201


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("path", ["/api/workflows/w/executions", "/api/n8n/error-workflow"])
def test_each_way_in_counts(api: Api, path: str) -> None:
    for _ in range(3):
        api.post("/api/executions", MESSAGE)
    body = {"status": "failed", "execution": {"id": "1"}, "workflow": {"id": "w"}}
    assert api.post(path, body).status_code == 429


@pytest.mark.parametrize(("of_all", "own", "expected"), [(0, None, None), (5, None, 5), (5, 9, 9)])
def test_the_tenants_own_quota_wins(
    api: Api, tenant: Tenant, settings: Any, of_all: int, own: int | None, expected: int | None
) -> None:
    settings.QUOTA_EXECUTIONS_PER_MINUTE = of_all
    tenant.executions_per_minute = own
    tenant.save()
    assert api.get("/api/limits")["executions_per_minute"] == expected


def test_a_message_that_breaks_the_schema_does_not_count(api: Api, limited: Tenant) -> None:
    for _ in range(4):
        assert api.post("/api/executions", {"status": "success"}).status_code == 422
    assert api.post("/api/executions", MESSAGE).status_code == 201
