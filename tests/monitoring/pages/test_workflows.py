"""The list of workflows, and what the command palette finds."""

from __future__ import annotations

import datetime as dt
import re
import time
from html import unescape
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring import workflow_list
from monitoring.metrics import kept_order
from monitoring.metrics.timerange import TimeRange
from monitoring.models import Environment, Workflow
from monitoring.words import Status
from monitoring.workflow_list import Order, list_workflows
from tenants.models import Role, Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.counted import message, record
from tests.monitoring.factories import (
    make_environment,
    make_member,
    make_tenant,
    make_workflow,
)

pytestmark = pytest.mark.django_db
LIST = "/t/agency/workflows/"
F, S = Status.FAILED, Status.SUCCESS
QUERY_BUDGET = 19


@pytest.fixture
def environment(tenant: Tenant) -> Environment:
    return make_environment(tenant, name="n8n EU")


def run(
    workflow: Workflow, successes: int, failures: int, duration_ms: int = 1_000, ago: int = 10
) -> UUID | None:
    """Record executions that started `ago` minutes ago and a second earlier each."""
    now = timezone.now() - dt.timedelta(minutes=ago)
    statuses = [S] * successes + [F] * failures
    results = record(
        *(
            message(workflow, now - dt.timedelta(seconds=place), status, duration_ms)
            for place, status in enumerate(statuses)
        )
    )
    return results[0].id if results else None


@pytest.fixture
def four(environment: Environment) -> dict[str, Workflow]:
    """Workflows that stand in another order by each number."""
    made = {name: make_workflow(environment, name=name) for name in ("Alpha", "Beta", "Gamma", "Z")}
    run(made["Alpha"], 20, 1, 100, ago=30)
    run(made["Beta"], 5, 5, 9_000, ago=20)
    run(made["Gamma"], 40, 6, 500, ago=40)
    return made


def names(client: Client, query: str = "") -> list[str]:
    """Names in the order of the list."""
    response = client.get(f"{LIST}?{query}")
    assert response.status_code == 200
    found = re.findall(
        r'<td class="lead cut"><span class="with-tag"><a [^>]*>([^<]*)</a>',
        response.content.decode(),
    )
    return [unescape(name) for name in found]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("", ["Gamma", "Beta", "Alpha", "Z"]),
        ("name", ["Alpha", "Beta", "Gamma", "Z"]),
        ("-name", ["Z", "Gamma", "Beta", "Alpha"]),
        ("executions", ["Gamma", "Alpha", "Beta", "Z"]),
        ("-executions", ["Z", "Beta", "Alpha", "Gamma"]),
        ("failures", ["Gamma", "Beta", "Alpha", "Z"]),
        ("rate", ["Beta", "Gamma", "Alpha", "Z"]),
        ("p95", ["Beta", "Gamma", "Alpha", "Z"]),
        ("last", ["Beta", "Alpha", "Gamma", "Z"]),
        ("nonsense", ["Gamma", "Beta", "Alpha", "Z"]),
        ("-rate", ["Z", "Alpha", "Gamma", "Beta"]),
    ],
)
@pytest.mark.parametrize("range_", ["24h", "30d"])
def test_workflows_stand_in_the_order_asked_for(
    viewer: Client, four: dict[str, Workflow], sort: str, expected: list[str], range_: str
) -> None:
    assert names(viewer, f"sort={sort}&range={range_}") == expected


def test_only_the_range_counts(viewer: Client, four: dict[str, Workflow]) -> None:
    run(four["Z"], 0, 50, ago=60 * 24 * 2)
    assert names(viewer, "sort=failures&range=24h")[0] == "Gamma"
    assert names(viewer, "sort=failures&range=7d")[0] == "Z"


def test_search_finds_parts_of_names_and_ids_whatever_the_case(
    viewer: Client, environment: Environment
) -> None:
    make_workflow(environment, name="Invoice sync", external_id="abc-77")
    make_workflow(environment, name="Customer 客户同步")
    make_workflow(environment, name="100 % sure_thing")
    assert names(viewer, "q=INVOICE") == ["Invoice sync"]
    assert names(viewer, "q=c-7") == ["Invoice sync"]
    assert names(viewer, "q=客户") == ["Customer 客户同步"]
    assert names(viewer, "q=%25") == ["100 % sure_thing"]
    assert names(viewer, "q=e_t") == ["100 % sure_thing"]
    assert names(viewer, "q=%00") == names(viewer)
    assert names(viewer, "q=nothing") == []


def test_environments_filter_and_foreign_ones_find_nothing(
    viewer: Client, tenant: Tenant, environment: Environment
) -> None:
    make_workflow(environment, name="Here")
    make_workflow(make_environment(tenant), name="There")
    foreign = make_environment(make_tenant("other"))
    make_workflow(foreign, name="Elsewhere")
    assert names(viewer, f"environment={environment.pk}") == ["Here"]
    assert names(viewer, f"environment={foreign.pk}") == []
    assert sorted(names(viewer, "environment=x")) == ["Here", "There"]
    assert sorted(names(viewer, f"environment={2**70}")) == ["Here", "There"]


def test_a_row_says_rate_durations_and_why_it_failed_last(
    viewer: Client, environment: Environment
) -> None:
    run(make_workflow(environment, name="Alpha"), 3, 1, 2_000)
    html = viewer.get(LIST).content.decode()
    assert "25.0\u202f%" in html or "25.0 %" in html
    assert "2.0 s" in html
    assert "HTTP 401" in html


def test_pages_hold_every_workflow_once(
    viewer: Client, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow_list, "PAGE_SIZE", 10)
    monkeypatch.setattr("monitoring.pages.workflows.PAGE_SIZE", 10)
    for number in range(25):
        workflow = make_workflow(environment, name=f"W{number:02}")
        run(workflow, 1, number % 4)
    for sort in ("name", "failures", "rate", "p95", "last"):
        seen = [name for page in (1, 2, 3) for name in names(viewer, f"sort={sort}&page={page}")]
        assert sorted(seen) == [f"W{number:02}" for number in range(25)], sort
    assert names(viewer, "page=4") == []
    assert names(viewer, "page=0") == names(viewer, "page=1") == names(viewer, "page=-1")


def test_percentiles_are_compared_among_the_busiest(
    tenant: Tenant, four: dict[str, Workflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow_list, "BUSIEST", 2)
    with tenant_scope(tenant):
        range_ = TimeRange.of_preset("24h", now=timezone.now())
        page = list_workflows(range_, order=Order.P95)
    assert [row.workflow.name for row in page.rows] == ["Gamma", "Alpha"]
    assert (page.ordered, page.count) == (2, 4)


@pytest.mark.parametrize("sort", [order.value for order in Order])
def test_queries_do_not_grow_with_workflows(
    viewer: Client,
    environment: Environment,
    django_assert_max_num_queries: DjangoAssertNumQueries,
    sort: str,
) -> None:
    for number in range(20):
        run(make_workflow(environment, name=f"W{number}"), 2, 1)
    with django_assert_max_num_queries(QUERY_BUDGET):
        viewer.get(f"{LIST}?sort={sort}")


def test_an_order_is_kept_for_seconds_while_numbers_are_read_anew(
    viewer: Client,
    environment: Environment,
    django_assert_num_queries: DjangoAssertNumQueries,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workflow_list, "PAGE_SIZE", 2)
    made = [make_workflow(environment, name=f"W{number}") for number in range(3)]
    for failures, workflow in zip((3, 2, 1), made, strict=True):
        run(workflow, 0, failures)
    assert names(viewer, "sort=last") == ["W2", "W1"]
    with CaptureQueriesContext(connection) as first:
        assert names(viewer) == ["W0", "W1"]
    run(made[2], 0, 9)
    run(made[1], 0, 9)
    with django_assert_num_queries(len(first) - 1):
        assert names(viewer) == ["W1", "W0"]  # a page stands in its exact order
    assert names(viewer, "sort=last") == ["W1", "W2"]  # never kept: it asks for what ran just now
    assert sorted(names(viewer, "sort=executions")) == ["W1", "W2"]
    run(make_workflow(environment, name="New"), 0, 20)
    assert names(viewer) == ["New", "W1"]


def test_a_kept_order_ends(
    viewer: Client, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow_list, "PAGE_SIZE", 1)
    monkeypatch.setattr(kept_order, "KEPT_SECONDS", 0.05)
    first, second = (make_workflow(environment, name=name) for name in ("First", "Second"))
    run(first, 0, 1)
    assert names(viewer) == ["First"]
    run(second, 0, 2)
    time.sleep(0.1)
    assert names(viewer) == ["Second"]


def test_a_tenant_without_workflows_learns_how_to_send_an_execution(viewer: Client) -> None:
    page = viewer.get(LIST).content.decode()
    assert "Nothing recorded yet" in page


def test_a_part_is_enough_for_a_filter(viewer: Client, four: dict[str, Workflow]) -> None:
    headers = {"HX-Request": "true", "HX-Target": "list"}
    part = viewer.get(f"{LIST}?q=alp", headers=headers).content.decode()
    assert "<html" not in part
    assert "Alpha" in part
    assert "Beta" not in part


def test_a_blank_name_is_replaced_by_the_id(viewer: Client, environment: Environment) -> None:
    make_workflow(environment, name="  ", external_id="abc-77")
    assert names(viewer) == ["abc-77"]


# --- command palette ----------------------------------------------------------------------------


def found(client: Client, text: str) -> list[dict[str, str]]:
    answer = client.get("/t/agency/search/", {"q": text})
    assert answer.status_code == 200
    data: list[dict[str, str]] = answer.json()["data"]
    return data


def test_the_palette_finds_workflows_those_that_begin_so_first(
    viewer: Client, environment: Environment
) -> None:
    for name in ("A sync", "Sync orders", "Other"):
        make_workflow(environment, name=name)
    labels = [entry["label"] for entry in found(viewer, "sync")]
    assert labels == ["Sync orders", "A sync"]
    first = found(viewer, "sync")[0]
    assert (first["kind"], first["hint"]) == ("workflow", "n8n EU")
    assert viewer.get(first["url"]).status_code == 200


def test_the_palette_finds_an_execution_by_either_id(
    viewer: Client, environment: Environment
) -> None:
    workflow = make_workflow(environment, name="Invoice sync")
    one = message(workflow, timezone.now(), F, external_id="n8n-4711")
    [result] = record(one)
    assert result.id is not None
    for text in ("n8n-4711", str(result.id)):
        [entry] = found(viewer, text)
        assert entry["kind"] == "execution"
        assert entry["url"].endswith(f"/executions/{result.id}/")


def test_the_palette_never_looks_into_another_tenant(viewer: Client) -> None:
    foreign = make_workflow(make_environment(make_tenant("other")), name="Secret flow")
    [result] = record(message(foreign, timezone.now(), external_id="secret-1"))
    for text in ("secret", "Secret flow", "secret-1", str(result.id)):
        assert found(viewer, text) == []


@pytest.mark.parametrize("text", ["", " ", "\x00", "%", "_", "\\", "'", "x" * 10_000, "٣", "²"])
def test_the_palette_survives_any_question(viewer: Client, text: str) -> None:
    assert found(viewer, text) == []


def test_the_palette_finds_settings_that_the_member_may_see(tenant: Tenant) -> None:
    def found(role: Role, text: str) -> list[str]:
        client = Client()
        client.force_login(make_member(tenant, role))
        data = client.get("/t/agency/search/", {"q": text}).json()["data"]
        return [one["label"] for one in data if one["hint"] == "settings"]

    assert found(Role.OWNER, "settings tok") == ["Tokens"]
    assert found(Role.OWNER, "tenant settings") == ["Tenant"]
    assert found(Role.ADMIN, "members") == []
    assert found(Role.VIEWER, "tokens") == []


def test_partial_runs_stand_beside_the_failures_that_do_not_count_them(
    viewer: Client, environment: Environment
) -> None:
    workflow = make_workflow(environment, name="Alpha")
    now = timezone.now() - dt.timedelta(minutes=5)
    record(message(workflow, now, Status.PARTIAL, 100), message(workflow, now, S, 100))
    page = viewer.get(LIST).content.decode()
    assert re.search(r'data-label="failed">0 <span class="muted" title="[^"]+">\+ 1 partial<', page)
