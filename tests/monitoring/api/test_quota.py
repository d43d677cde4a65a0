"""Quotas: a tenant that sends more than it may is told to come back, and nobody else notices."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring.models import Execution, QuotaUse
from monitoring.models.quota import HOURS, shifted
from monitoring.recording import quota
from tenants.models import Role, Tenant
from tenants.scoping import across_tenants
from tenants.tokens import forget_cached_tokens
from tests.monitoring.api.conftest import Api
from tests.tenants.factories import make_member, make_person

pytestmark = [pytest.mark.django_db, pytest.mark.store]
MESSAGE = {"workflowId": "w", "status": "success"}


@pytest.fixture
def limited(tenant: Tenant) -> Tenant:
    tenant.executions_per_minute = 3
    tenant.save()
    return tenant


@pytest.fixture(autouse=True)
def _believe_nothing_of_earlier_tests() -> None:
    quota.refusals.forget()


def pass_time(seconds: float) -> None:
    quota.refusals.forget()
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


TOO_OLD = MESSAGE | {"started_at": "2020-01-01T00:00:00Z"}


def test_what_is_rejected_does_not_count(api: Api, limited: Tenant) -> None:
    for _ in range(4):
        assert api.post("/api/executions", TOO_OLD).status_code == 422
    assert api.post("/api/executions", MESSAGE).status_code == 201


def test_rejected_lines_of_a_batch_do_not_count(api: Api, limited: Tenant) -> None:
    lines = [json.dumps(MESSAGE), *[json.dumps(TOO_OLD)] * 10, *["{broken"] * 10]
    ndjson = {"content_type": "application/x-ndjson"}
    answer = api.send("POST", "/api/executions/batch", "\n".join(lines).encode(), **ndjson)
    assert answer.json()["summary"]["rejected"] == 20
    statuses = [api.post("/api/executions", MESSAGE).status_code for _ in range(3)]
    assert statuses == [201, 201, 429], "one line of the batch was stored, so it took one"


def test_a_batch_is_answered_also_when_its_count_cannot_be_corrected(
    api: Api, limited: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "_GIVE_BACK", "SELECT 1 / 0")
    lines = [json.dumps(MESSAGE), json.dumps(TOO_OLD)]
    ndjson = {"content_type": "application/x-ndjson"}
    answer = api.send("POST", "/api/executions/batch", "\n".join(lines).encode(), **ndjson)
    assert answer.status_code == 200
    assert answer.json()["summary"]["created"] == 1


# --- remembering that there is no room ----------------------------------------------------------


@pytest.mark.usefixtures("limited")
def test_a_tenant_without_room_is_refused_at_once_and_before_its_body_is_read(
    api: Api, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(4):
        told = api.post("/api/executions", MESSAGE)
    assert told.status_code == 429
    with django_assert_max_num_queries(0):
        again = api.send("POST", "/api/executions", b"{broken", content_type="application/json")
    assert again.status_code == 429
    assert again.json() == told.json()
    assert again["Retry-After"] == told["Retry-After"]


@pytest.mark.usefixtures("limited")
def test_it_is_believed_for_half_a_second_at_most(api: Api, tenant: Tenant) -> None:
    for _ in range(4):
        api.post("/api/executions", MESSAGE)
    tenant.executions_per_minute = 1_000
    tenant.save()
    forget_cached_tokens()
    begun = time.monotonic()
    while api.post("/api/executions", MESSAGE).status_code == 429:
        assert time.monotonic() - begun < 2
        time.sleep(0.02)
    assert time.monotonic() - begun < quota.MOST_SECONDS + 1


@pytest.mark.usefixtures("limited")
def test_nobody_else_is_believed_to_have_no_room(api: Api, rival: Api) -> None:
    for _ in range(4):
        api.post("/api/executions", MESSAGE)
    assert rival.post("/api/executions", MESSAGE).status_code == 201


# --- what people see ----------------------------------------------------------------------------


def hour(number: int) -> dt.datetime:
    return dt.datetime(2026, 1, 1, 0, 30, tzinfo=dt.UTC) + dt.timedelta(hours=number)


@pytest.mark.parametrize(
    ("counts", "last", "now", "expected"),
    [
        ([], None, hour(0), []),
        ([3, 4], hour(5), hour(5), [3, 4]),
        ([3, 4], hour(5), hour(7), [0, 0, 3, 4]),
        ([3, 4], hour(5), hour(28), [0] * 23 + [3]),
        ([3, 4], hour(5), hour(1_000), []),
        ([3, 4], hour(5), hour(4), [3, 4]),
    ],
)
def test_counts_of_hours_move_on(
    counts: list[int], last: dt.datetime | None, now: dt.datetime, expected: list[int]
) -> None:
    assert shifted(counts, last, now) == expected + [0] * (HOURS - len(expected))


def test_what_was_refused_is_shown(
    api: Api, limited: Tenant, rival: Api, client: Client, settings: Any
) -> None:
    client.force_login(make_member(limited, Role.ADMIN))
    page = f"/t/{limited.slug}/settings/quota/"
    shown = client.get(page).content.decode()
    assert "3 a minute" in shown
    assert "never" in shown
    for _ in range(5):
        api.post("/api/executions", MESSAGE)
    pass_time(0)
    api.post("/api/executions", MESSAGE)
    shown = client.get(page).content.decode()
    assert "3 of 3" in shown
    assert re.search(r"Refused this hour</dt><dd[^>]*>2 calls", shown), "what was counted so far"
    rival.post("/api/executions", MESSAGE)
    client.force_login(make_person(is_staff=True))
    status = client.get("/status/").content.decode()
    assert "Over their quota" in status
    assert status.count('class="lead">acme') == 1


def overview(client: Client, tenant: Tenant) -> str:
    """The overview without markup, white space folded."""
    page = client.get(f"/t/{tenant.slug}/").content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))


def test_the_overview_says_what_was_refused_lately(
    api: Api, limited: Tenant, client: Client
) -> None:
    client.force_login(make_member(limited, Role.ADMIN))
    for _ in range(3):
        api.post("/api/executions", MESSAGE)
    assert "refused" not in overview(client, limited)
    for expected in ("1 call was refused since", "2 calls were refused since"):
        api.post("/api/executions", MESSAGE)
        quota.refusals.forget()
        assert expected in overview(client, limited)
    assert "over the quota of 3 executions a minute" in overview(client, limited)
    assert (
        f'href="/t/{limited.slug}/settings/quota/"'
        in client.get(f"/t/{limited.slug}/").content.decode()
    )
    with across_tenants():
        QuotaUse.objects.update(refused_at=timezone.now() - dt.timedelta(minutes=61))
    assert "refused" not in overview(client, limited)


def test_the_overview_leads_to_the_quota_who_may_see_it(
    api: Api, limited: Tenant, client: Client
) -> None:
    for _ in range(4):
        api.post("/api/executions", MESSAGE)
    client.force_login(make_member(limited, Role.VIEWER))
    page = client.get(f"/t/{limited.slug}/").content.decode()
    assert "1 call was refused" in page
    assert "settings/quota" not in page


def test_an_open_overview_hears_of_what_is_refused(
    api: Api, limited: Tenant, client: Client
) -> None:
    client.force_login(make_member(limited, Role.VIEWER))
    for _ in range(3):
        api.post("/api/executions", MESSAGE)
    page = f"/t/{limited.slug}/"
    [stamp] = re.findall(r'"stamp": "(\w+)"', client.get(page).content.decode())
    assert client.get(page, {"stamp": stamp}).status_code == 204
    api.post("/api/executions", MESSAGE)
    told = client.get(page, {"stamp": stamp})
    assert told.status_code == 200
    assert re.search(r'hx-select-oob="[^"]*#live-refused,', told.content.decode())


def test_without_a_quota_there_is_nothing_to_use(tenant: Tenant, client: Client) -> None:
    client.force_login(make_member(tenant, Role.ADMIN))
    shown = client.get(f"/t/{tenant.slug}/settings/quota/").content.decode()
    assert "none: as many as come" in shown
    assert "Used now" not in shown
    client.force_login(make_person(is_staff=True))
    assert "Over their quota" not in client.get("/status/").content.decode()
