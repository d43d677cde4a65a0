"""Charts as JSON: every execution of the range in one bar, gaps where nothing ran."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from monitoring.models import Workflow
from monitoring.words import Status
from tenants.models import Tenant
from tests.monitoring.counted import message, record
from tests.monitoring.factories import make_environment, make_member, make_tenant, make_workflow

pytestmark = pytest.mark.django_db
F, S = Status.FAILED, Status.SUCCESS


def chart(client: Client, address: str) -> dict[str, Any]:
    response = client.get(address)
    assert response.status_code == 200, address
    assert response["Content-Type"] == "application/json"
    data: dict[str, Any] = response.json()
    assert all(len(one["values"]) == len(data["x"]) for one in data["series"])
    assert len(data["links"]) == len(data["x"])
    return data


def values(data: dict[str, Any], name: str) -> list[float | None]:
    return next(one["values"] for one in data["series"] if one["name"] == name)


@pytest.mark.parametrize("range_", ["1h", "6h", "24h", "7d", "30d"])
def test_every_execution_is_in_one_bar_and_its_link_leads_to_it(
    viewer: Client, workflow: Workflow, range_: str
) -> None:
    now = timezone.now()
    ago = [1, 2, 13, 58, 200, 359, 1_000, 1_400, 5_000, 9_000, 20_000, 40_000]
    record(*(message(workflow, now - dt.timedelta(minutes=m), F if m % 2 else S) for m in ago))
    minutes = {"1h": 60, "6h": 360, "24h": 1_440, "7d": 10_080, "30d": 43_200}[range_]
    expected = [m for m in ago if m < minutes]
    for address in (
        f"/t/agency/chart/?range={range_}",
        f"/t/agency/workflows/{workflow.pk}/chart/executions/?range={range_}",
    ):
        data = chart(viewer, address)
        assert sum(v or 0 for v in values(data, "failed")) == sum(m % 2 for m in expected)
        assert sum(v or 0 for v in values(data, "success")) == sum(m % 2 == 0 for m in expected)
        assert len(data["x"]) <= 100
        for place, link in enumerate(data["links"]):
            number = sum(one["values"][place] or 0 for one in data["series"])
            assert (link is None) == (number == 0)
            if link:
                page = viewer.get(link).content.decode()
                assert page.count("data-select-row") == number, link


def test_nothing_ran_is_a_gap_and_no_zero(viewer: Client, workflow: Workflow) -> None:
    record(message(workflow, timezone.now() - dt.timedelta(minutes=2)))
    data = chart(viewer, "/t/agency/chart/?range=6h")
    assert values(data, "success").count(None) == len(data["x"]) - 1
    assert values(data, "failed").count(0) == 1


def test_bars_stand_in_the_persons_zone(tenant: Tenant, workflow: Workflow, client: Client) -> None:
    record(message(workflow, timezone.now() - dt.timedelta(minutes=2)))
    client.force_login(make_member(tenant, time_zone="Asia/Kathmandu"))
    data = chart(client, "/t/agency/chart/?range=7d")
    assert all(x.endswith("+05:45") for x in data["x"])
    assert {x[11:19] for x in data["x"]} <= {"00:00:00", "06:00:00", "12:00:00", "18:00:00"}


def test_durations_are_percentiles_in_milliseconds(viewer: Client, workflow: Workflow) -> None:
    at = timezone.now() - dt.timedelta(minutes=8)
    record(*(message(workflow, at, S, 1_000 if n < 90 else 9_000) for n in range(100)))
    data = chart(viewer, f"/t/agency/workflows/{workflow.pk}/chart/durations/?range=1h")
    assert data["unit"] == "ms"
    [median] = [value for value in values(data, "p50") if value is not None]
    [high] = [value for value in values(data, "p95") if value is not None]
    assert median == pytest.approx(1_000, rel=0.01)
    assert high == pytest.approx(9_000, rel=0.01)


def test_a_new_version_is_marked_where_it_began(viewer: Client, workflow: Workflow) -> None:
    now = timezone.now()
    messages = [message(workflow, now - dt.timedelta(hours=h)) for h in (20, 15, 10, 5, 1)]
    for one, version in zip(messages, ("7", "7", "8", "8", "8"), strict=True):
        one.version = version
    record(*messages)
    data = chart(viewer, f"/t/agency/workflows/{workflow.pk}/chart/executions/")
    [mark] = data["marks"]
    assert mark["label"] == "version 8"
    at = dt.datetime.fromisoformat(mark["x"])
    assert abs(at - (now - dt.timedelta(hours=10))) < dt.timedelta(seconds=1)


@pytest.mark.parametrize(("range_", "step_hours"), [("24h", 0.5), ("7d", 6), ("30d", 24)])
def test_a_version_that_came_within_a_bar_is_marked_there(
    viewer: Client, workflow: Workflow, range_: str, step_hours: float
) -> None:
    now = timezone.now()
    step = dt.timedelta(hours=step_hours)
    came = now - 2.5 * step
    messages = [message(workflow, came + step * n / 20) for n in range(-60, 50)]
    for place, one in enumerate(messages):
        one.version = "7" if place < 60 else "8"
    record(*messages)
    address = f"/t/agency/workflows/{workflow.pk}/chart/executions/?range={range_}"
    [mark] = chart(viewer, address)["marks"]
    late = dt.datetime.fromisoformat(mark["x"]) - came
    assert dt.timedelta(seconds=-1) < late < step / 10


def test_a_link_keeps_the_workflow(viewer: Client, workflow: Workflow) -> None:
    record(message(workflow, timezone.now() - dt.timedelta(minutes=2)))
    data = chart(viewer, f"/t/agency/workflows/{workflow.pk}/chart/executions/?range=1h")
    [link] = [link for link in data["links"] if link]
    assert parse_qs(urlsplit(link).query)["workflow"] == [str(workflow.pk)]


@pytest.mark.parametrize("kind", ["executions", "durations"])
def test_a_foreign_workflow_is_as_unknown_as_none(viewer: Client, kind: str) -> None:
    foreign = make_workflow(make_environment(make_tenant("other")))
    for pk in (foreign.pk, 10**9, 2**63, 10**30):
        answer = viewer.get(f"/t/agency/workflows/{pk}/chart/{kind}/")
        assert answer.status_code == 404, pk


@pytest.mark.parametrize(
    "query",
    [
        "range=",
        "range=nonsense",
        "start=2026-01-01",
        "start=0001-01-01T00:00&end=9999-12-31T23:59",
        "start=2020-01-01&end=2026-11-21",
        "start=2026-11-20T10:00:00.001Z&end=2026-11-20T10:00:00.002Z",
        "start=%00&end=x",
    ],
)
def test_any_range_gives_a_chart_of_bounded_size(
    viewer: Client, workflow: Workflow, query: str
) -> None:
    record(message(workflow, timezone.now() - dt.timedelta(minutes=2)))
    data = chart(viewer, f"/t/agency/chart/?{query}")
    assert 1 <= len(data["x"]) <= 600
