"""One workflow's page: head, figures, latest executions by node, nodes, failures, clearing."""

from __future__ import annotations

import datetime as dt
import re
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring import bulk, run_grid
from monitoring.metrics.rollups import fold_deltas
from monitoring.models import BulkJob, Execution, Workflow
from monitoring.recording.record import NodeRecord
from monitoring.words import Status
from tenants.models import AuditEvent, Role, Tenant
from tenants.scoping import tenant_scope
from tenants.ui.times import day
from tests.monitoring.counted import message, node, record
from tests.monitoring.factories import make_environment, make_member, make_tenant, make_workflow

pytestmark = pytest.mark.django_db
F, S = Status.FAILED, Status.SUCCESS
QUERY_BUDGET = 24


@pytest.fixture
def page(workflow: Workflow) -> str:
    return f"/t/agency/workflows/{workflow.pk}/"


def html_of(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200, (address, response.status_code)
    return unescape(response.content.decode())


def text_of(client: Client, address: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html_of(client, address)))


def run(
    workflow: Workflow, count: int, status: Status = S, nodes: tuple[NodeRecord, ...] = ()
) -> None:
    """Record executions a minute apart, the newest five minutes ago."""
    now = timezone.now() - dt.timedelta(minutes=5)
    record(
        *(
            message(workflow, now - dt.timedelta(minutes=place), status, 1_500, nodes=nodes)
            for place in range(count)
        )
    )


def test_the_head_says_what_it_is_and_how_it_ever_did(
    viewer: Client, workflow: Workflow, page: str
) -> None:
    run(workflow, 3)
    old = timezone.now() - dt.timedelta(days=60)
    record(message(workflow, old, F, 3_500))
    text = text_of(viewer, page)
    assert "Invoice sync" in text
    assert "in n8n EU" in text
    assert "wf-invoice" in text
    assert "last run Success" in text
    assert "ever 4 executions, 75.0 % success, 1 failed, 2.0 s on average" in text


def test_the_sign_of_a_failing_workflow_that_runs_again_is_how_it_finished_last(
    viewer: Client, workflow: Workflow, page: str
) -> None:
    run(workflow, 3, F)
    record(message(workflow, timezone.now() - dt.timedelta(minutes=1), Status.RUNNING, None))
    text = text_of(viewer, page)
    assert "last run Failed" in text
    assert "now Running since 1 min ago" in text
    for address, wanted in (
        (page, "<h1>"),
        ("/t/agency/", "sign"),
        ("/t/agency/workflows/", "sign"),
    ):
        shown = html_of(viewer, address)
        _, _, after = shown.partition("live-workflows" if address == "/t/agency/" else "<main")
        assert "is-failed" in after[after.index(wanted) :][:150], address
        assert "Running" in after
    assert "3 of 3" in text_of(viewer, "/t/agency/"), "what runs is not counted as rated"


def test_a_workflow_whose_newest_run_lost_contact_does_not_look_as_if_it_ran(
    viewer: Client, workflow: Workflow, page: str
) -> None:
    run(workflow, 3, F)
    record(message(workflow, timezone.now() - dt.timedelta(minutes=1), Status.RUNNING, None))
    with tenant_scope(workflow.tenant):
        running = Execution.objects.filter(status=Status.RUNNING)
        assert running.update(lost_contact_at=timezone.now()) == 1
    assert "now Lost contact, begun 1 min ago" in text_of(viewer, page)
    for address in ("/t/agency/", "/t/agency/workflows/"):
        shown = html_of(viewer, address)
        _, _, after = shown.partition("live-workflows" if address == "/t/agency/" else "<main")
        assert re.search(r'class="tag"><svg class="icon is-lost".*?Lost contact', after), address


def test_the_versions_that_ran_are_told_with_how_they_did(
    viewer: Client, workflow: Workflow, page: str
) -> None:
    now = timezone.now()
    messages = [
        message(workflow, now - dt.timedelta(hours=10 - n), S if n < 6 else F) for n in range(9)
    ]
    for place, one in enumerate(messages):
        one.version = "7" if place < 6 else "8"
    record(*messages)
    text = text_of(viewer, f"{page}?tab=versions&range=24h")
    # Of yesterday the day stands there instead of "4 h ago".
    since_8, since_7 = (
        f"({hours} h ago|{day(now - dt.timedelta(hours=hours))}) " for hours in (4, 10)
    )
    assert re.search(
        f"Version 8 {since_8}.* the end 3 3 100.0 % Version 7 {since_7}.* or before .* 6 0 0.0 %",
        text,
    )
    assert "No definition yet" in text


def test_the_figures_are_those_of_the_range(viewer: Client, workflow: Workflow, page: str) -> None:
    run(workflow, 9)
    run(workflow, 1, F)
    record(message(workflow, timezone.now() - dt.timedelta(days=2), F))
    text = text_of(viewer, page)
    assert "Failed ÷ (success + failed + partial) = 1 ÷ 10." in text


def test_the_grid_shows_nodes_in_their_order_and_the_worst_run_of_each(
    viewer: Client, workflow: Workflow, page: str
) -> None:
    nodes = (
        NodeRecord("b", 0, S, position=0, name="First"),
        NodeRecord("a", 0, S, position=1, name="Loop"),
        NodeRecord("a", 1, F, position=2, name="Loop"),
        NodeRecord("a", 2, S, position=3, name="Loop"),
    )
    run(workflow, 2, F, nodes)
    html = html_of(viewer, page)
    assert 'aria-label="First: 2 success"' in html
    assert 'aria-label="Loop: 2 failed"' in html
    assert html.index("First: 2 success") < html.index("Loop: 2 failed")


def test_the_grid_is_bounded_by_nodes(
    tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_grid, "MOST_NODE_EXECUTIONS", 100)
    many = tuple(node(f"n{number:03}") for number in range(40))
    run(workflow, 5, S, many)
    with tenant_scope(tenant):
        grid = run_grid.run_grid(workflow)
    assert len(grid.columns) == 2
    assert len(grid.rows) == run_grid.NODES
    assert grid.hidden_nodes == 10


def test_one_huge_execution_is_still_shown(tenant: Tenant, workflow: Workflow) -> None:
    run(workflow, 2, S, tuple(node(f"n{number}") for number in range(4_500)))
    with tenant_scope(tenant):
        grid = run_grid.run_grid(workflow)
    assert len(grid.columns) == 1


def test_slowest_and_most_failing_nodes_are_ranked(
    viewer: Client, workflow: Workflow, page: str
) -> None:
    nodes = (
        node("quick", S, 10),
        node("slow", S, 9_000),
        node("shaky", F, 500),
    )
    run(workflow, 4, F, nodes)
    text = text_of(viewer, page)
    slowest = text[text.index("Slowest nodes") : text.index("Most failing nodes")]
    assert slowest.index("slow") < slowest.index("shaky") < slowest.index("quick")
    failing = text[text.index("Most failing nodes") : text.index("Recent failures")]
    assert "shaky4100.0 %4" in failing
    assert "slow" not in failing


def test_recent_failures_lead_to_their_executions(
    viewer: Client, workflow: Workflow, page: str
) -> None:
    run(workflow, 3)
    failed = message(workflow, timezone.now() - dt.timedelta(minutes=1), F)
    failed.error_message, failed.error_node_id = "Card declined", "charge"
    [result] = record(failed)
    html = html_of(viewer, page)
    assert f'href="/t/agency/executions/{result.id}/"' in html
    assert "charge: Card declined" in html


def test_without_executions_the_page_still_says_so(viewer: Client, page: str) -> None:
    text = text_of(viewer, page)
    assert "no execution recorded" in text
    assert "No execution is left." in text


def test_settings_are_a_tab_for_admins_only(
    tenant: Tenant, workflow: Workflow, client: Client, page: str
) -> None:
    for role, status in ((Role.VIEWER, 404), (Role.OPERATOR, 404), (Role.ADMIN, 200)):
        client.force_login(make_member(tenant, role))
        assert client.get(f"{page}?tab=settings").status_code == status, role
        assert ("?tab=settings" in html_of(client, page)) == (status == 200), role
    assert client.get(f"{page}?tab=nonsense").status_code == 404


def test_queries_do_not_grow_with_executions(
    viewer: Client,
    workflow: Workflow,
    page: str,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    run(workflow, 60, F, tuple(node(f"n{number}", F) for number in range(12)))
    with django_assert_max_num_queries(QUERY_BUDGET):
        viewer.get(page)


def test_the_page_stays_small(viewer: Client, workflow: Workflow, page: str) -> None:
    run(workflow, 40, S, tuple(node(f"node-{number}") for number in range(60)))
    assert len(viewer.get(page).content) < 150_000


def test_a_foreign_workflow_is_as_unknown_as_none(admin: Client) -> None:
    foreign = make_workflow(make_environment(make_tenant("other")), name="Secret flow")
    for pk in (foreign.pk, 10**9, 2**63, 10**30):
        for address in (f"/t/agency/workflows/{pk}/", f"/t/agency/workflows/{pk}/clear/"):
            assert admin.get(address).status_code == 404, address
    assert admin.post(f"/t/agency/workflows/{foreign.pk}/clear/").status_code == 404


# --- clearing the history -------------------------------------------------------------------------


def test_clearing_says_how_many_deletes_them_in_steps_and_is_audited(
    admin: Client, tenant: Tenant, workflow: Workflow, page: str
) -> None:
    run(workflow, 7)
    other = make_workflow(workflow.environment, name="Other")
    run(other, 2)
    assert "7 executions" in text_of(admin, f"{page}clear/")
    answer = admin.post(f"{page}clear/")
    with tenant_scope(tenant):
        job = BulkJob.objects.get()
        assert answer["Location"] == reverse("monitoring:bulk-job", args=["agency", job.pk])
        event = AuditEvent.objects.get(action="workflow.clear")
    assert (event.subject, event.detail["expected"]) == ("wf-invoice", 7)
    while bulk.work_step():
        continue
    with tenant_scope(tenant):
        assert not Execution.objects.filter(workflow=workflow).exists()
        assert Execution.objects.filter(workflow=other).count() == 2
    text = text_of(admin, page)
    assert "no execution recorded" in text
    assert " ever " not in text
    assert "There is no execution to delete" in text_of(admin, f"{page}clear/")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_clearing_needs_an_admin(
    tenant: Tenant, workflow: Workflow, client: Client, page: str, role: Role
) -> None:
    run(workflow, 1)
    client.force_login(make_member(tenant, role))
    assert client.get(f"{page}clear/").status_code == 403
    assert client.post(f"{page}clear/").status_code == 403
    with tenant_scope(tenant):
        assert not BulkJob.objects.exists()


def test_nodes_without_numbers_of_their_own_are_one_line_and_said_so(
    viewer: Client, workflow: Workflow, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(workflow, 2, F, (node("first", F), node("second"), node("third", F)))
    assert "Other nodes" not in text_of(viewer, page)
    monkeypatch.setattr("monitoring.metrics.node_lines.NODES_WITH_NUMBERS", 1)
    while fold_deltas():
        continue
    shown = text_of(viewer, page)
    assert "Other nodes4" in shown
    assert "nodes have numbers of their own" in shown
