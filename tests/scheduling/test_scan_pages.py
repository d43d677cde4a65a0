"""Pages of scans and schedules, as people with each role use them."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from monitoring.words import Status
from scheduling.due import drain
from scheduling.lint.engine import title_of_rule
from scheduling.models import Scan, Schedule
from tenants.models import Role, Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.counted import message, node, record
from tests.monitoring.factories import make_environment, make_member, make_tenant, make_workflow
from tests.scheduling.test_scans import TRIGGER, defined, definition, request_node, scan

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


def signed_in(tenant: Tenant, role: Role) -> Client:
    client = Client()
    client.force_login(make_member(tenant, role))
    return client


def page(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return answer.content.decode()


FORM = {
    "name": "Nightly",
    "enabled": "on",
    "frequency": "weekly",
    "weekday": "6",
    "preferred_time": "23:59",
    "time_zone": "Europe/Berlin",
    "scope": "all",
}


def test_without_a_definition_it_is_said_that_only_history_was_looked_at(tenant: Tenant) -> None:
    workflow = make_workflow(make_environment(tenant))
    done = scan(tenant)
    client = signed_in(tenant, Role.VIEWER)
    assert "1 without a definition: only history" in page(client, f"/t/acme/scans/{done.pk}/")
    health = page(client, f"/t/acme/workflows/{workflow.pk}/?tab=health")
    assert "Only history was looked at" in health
    assert "Nothing to complain about" not in health


def test_an_empty_list_says_what_to_do(tenant: Tenant) -> None:
    shown = page(signed_in(tenant, Role.ADMIN), "/t/acme/scans/")
    assert "No schedule yet" in shown
    assert "Make a schedule" in shown
    assert "Nothing was scanned yet" in shown
    assert "Make a schedule" not in page(signed_in(tenant, Role.VIEWER), "/t/acme/scans/")


def test_a_schedule_is_made_and_shows_its_next_runs_in_its_own_zone(tenant: Tenant) -> None:
    client = signed_in(tenant, Role.ADMIN)
    answer = client.post("/t/acme/scans/schedules/new/", FORM, follow=True)
    shown = answer.content.decode()
    assert "Next run: Sunday" in shown
    assert len(re.findall(r"Sun \d+ \w+ 23:59", shown)) == 3
    with tenant_scope(tenant):
        made = Schedule.objects.get()
    assert made.is_default, "the first one is what the API sets"
    assert made.due_at == made.next_scan_at


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("time_zone", "Mars/Olympus", "No such time zone"),
        ("preferred_time", "25:00", "valid time"),
        ("name", "", "required"),
        ("scope", "selected", "Select at least one workflow"),
        ("frequency", "hourly", "valid choice"),
        ("weekday", "9", "valid choice"),
    ],
)
def test_what_is_wrong_is_said_at_the_field_and_nothing_typed_is_lost(
    tenant: Tenant, field: str, value: str, said: str
) -> None:
    answer = signed_in(tenant, Role.ADMIN).post(
        "/t/acme/scans/schedules/new/", FORM | {field: value}
    )
    shown = answer.content.decode()
    assert answer.status_code == 422
    assert said in shown
    if field != "name":
        assert 'value="Nightly"' in shown
    with tenant_scope(tenant):
        assert not Schedule.objects.exists()


def test_the_next_runs_follow_what_is_typed(tenant: Tenant) -> None:
    answer = signed_in(tenant, Role.ADMIN).post(
        "/t/acme/scans/schedules/new/", FORM | {"name": ""}, headers={"HX-Target": "next-runs"}
    )
    shown = answer.content.decode()
    assert answer.status_code == 200
    assert len(re.findall(r"Sun \d+ \w+ \d{4}, 23:59", shown)) == 3
    with tenant_scope(tenant):
        assert not Schedule.objects.exists(), "a preview stores nothing"


def test_a_new_schedule_starts_in_the_persons_zone_and_its_runs_name_it(tenant: Tenant) -> None:
    person = make_member(tenant, Role.ADMIN)
    person.time_zone = "Europe/Lisbon"
    person.save()
    client = Client()
    client.force_login(person)
    shown = page(client, "/t/acme/scans/schedules/new/")
    assert 'value="Europe/Lisbon"' in shown
    assert re.search(r'id="next-runs".*<span class="muted nowrap">Europe/Lisbon', shown)


def test_a_list_of_workflows_that_is_cut_says_so(tenant: Tenant) -> None:
    environment = make_environment(tenant)
    for number in range(32):
        make_workflow(environment, name=f"Flow {number}")
    client = signed_in(tenant, Role.ADMIN)
    assert "30 of 32 that match are listed" in page(client, "/t/acme/scans/schedules/new/")


def test_workflows_are_found_and_stay_chosen(tenant: Tenant) -> None:
    environment = make_environment(tenant)
    invoice = make_workflow(environment, name="Invoice sync")
    make_workflow(environment, name="Lead intake")
    answer = signed_in(tenant, Role.ADMIN).post(
        "/t/acme/scans/schedules/new/",
        FORM | {"q": "lead", "selected": [invoice.pk]},
        headers={"HX-Target": "workflows"},
    )
    shown = answer.content.decode()
    assert re.search(rf'value="{invoice.pk}" checked', shown)
    assert "Lead intake" in shown


def test_a_foreign_workflow_cannot_be_selected(tenant: Tenant) -> None:
    theirs = make_workflow(make_environment(make_tenant("other")))
    answer = signed_in(tenant, Role.ADMIN).post(
        "/t/acme/scans/schedules/new/", FORM | {"scope": "selected", "selected": [theirs.pk]}
    )
    assert answer.status_code == 422
    assert theirs.name not in answer.content.decode()


def test_a_schedule_is_changed_and_deleted(tenant: Tenant) -> None:
    client = signed_in(tenant, Role.ADMIN)
    client.post("/t/acme/scans/schedules/new/", FORM)
    with tenant_scope(tenant):
        made = Schedule.objects.get()
    path = f"/t/acme/scans/schedules/{made.pk}/"
    client.post(path, {**FORM, "name": "Off", "enabled": ""})
    made.refresh_from_db()
    assert (made.name, made.enabled, made.next_scan_at, made.due_at) == ("Off", False, None, None)
    assert client.post(f"{path}delete/").status_code == 302
    with tenant_scope(tenant):
        assert not Schedule.objects.exists()


def test_an_operator_starts_a_scan_and_watches_it(tenant: Tenant) -> None:
    defined(tenant, definition(TRIGGER, request_node()) | {"name": "Invoice sync"})
    client = signed_in(tenant, Role.OPERATOR)
    started = client.post("/t/acme/scans/start/")
    path = started["Location"]
    assert "Waiting for the worker" in page(client, path)
    polled = client.get(path, headers={"HX-Request": "true", "HX-Target": "scan"}).content.decode()
    assert "Stop</button>" in polled
    again = client.post("/t/acme/scans/start/", follow=True).content.decode()
    assert "running already" in again
    drain("scan")
    by_workflow = page(client, path)
    assert "Invoice sync" in by_workflow
    assert "every 2s" not in by_workflow, "an ended scan is not asked again"
    assert by_workflow.count('id="scan-head"') == 1
    polled = client.get(path, headers={"HX-Request": "true", "HX-Target": "scan"}).content.decode()
    head = polled.split('id="scan-head" hx-swap-oob="true"')[1]
    assert "Completed" in head, "the heading keeps up, too"
    assert "Stop</button>" not in polled
    by_rule = page(client, f"{path}?by=rule")
    assert "no-timeout" in by_rule
    assert title_of_rule("no-timeout") in by_rule
    findings = page(client, f"{path}?by=findings&rule=no-timeout")
    assert "Ask" in findings
    assert "Timeout" in findings


def test_a_viewer_reads_but_starts_nothing(tenant: Tenant) -> None:
    client = signed_in(tenant, Role.VIEWER)
    assert "Scan now" not in page(client, "/t/acme/scans/")
    assert client.post("/t/acme/scans/start/").status_code == 403
    assert client.get("/t/acme/scans/schedules/new/").status_code == 403


def test_a_scan_is_stopped(tenant: Tenant) -> None:
    client = signed_in(tenant, Role.OPERATOR)
    path = client.post("/t/acme/scans/start/")["Location"]
    shown = client.post(f"{path}cancel/", follow=True).content.decode()
    assert "Canceled" in shown


def test_two_scans_beside_each_other(tenant: Tenant) -> None:
    defined(tenant, definition(TRIGGER, request_node()))
    first, second = scan(tenant), scan(tenant)
    client = signed_in(tenant, Role.VIEWER)
    shown = page(client, f"/t/acme/scans/{second.pk}/compare/{first.pk}/")
    assert "Nothing new was found." in shown
    assert "no-timeout" in shown, "it persists"
    assert "Looked into for the first time" not in shown
    defined(tenant, definition(TRIGGER, request_node()))
    third = scan(tenant)
    shown = page(client, f"/t/acme/scans/{third.pk}/compare/{second.pk}/")
    assert "Looked into for the first time" in shown
    assert "Nothing new was found." in shown


@pytest.mark.parametrize(
    "query",
    ["by=x", "page=999", "page=x", "by=findings&workflow=%00", "by=findings&rule=%00&severity=x"],
)
def test_odd_addresses_show_the_page(tenant: Tenant, query: str) -> None:
    done = scan(tenant)
    page(signed_in(tenant, Role.VIEWER), f"/t/acme/scans/{done.pk}/?{query}")


def test_pages_ask_a_bounded_number_of_questions(
    tenant: Tenant, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        defined(tenant, definition(TRIGGER, request_node()), name=f"W{number}")
    done = scan(tenant)
    client = signed_in(tenant, Role.VIEWER)
    with tenant_scope(tenant):
        Scan.objects.bulk_create(
            Scan(
                tenant=tenant,
                status="completed",
                completed_at=timezone.now() - dt.timedelta(days=n),
            )
            for n in range(30)
        )
    for path in ("", f"{done.pk}/", f"{done.pk}/?by=rule", f"{done.pk}/?by=findings"):
        with django_assert_max_num_queries(16):
            page(client, f"/t/acme/scans/{path}")


def test_a_workflow_shows_its_health_with_its_parts_and_failing_actions(tenant: Tenant) -> None:
    workflow = defined(tenant, definition(TRIGGER, request_node()))
    client = signed_in(tenant, Role.VIEWER)
    path = f"/t/acme/workflows/{workflow.pk}/?tab=health"
    assert "Not scanned yet" in page(client, path)
    now = timezone.now()
    failing = node("r", Status.FAILED)
    for minutes in range(3):
        at = now - dt.timedelta(minutes=minutes + 1)
        record(message(workflow, at, Status.FAILED, 100, nodes=[failing]))
    scan(tenant)
    shown = page(client, path)
    assert "Actions that fail repeatedly" in shown
    assert "no-timeout" in shown
    assert re.search(r"20\.0\s*<small>points", shown), "all failed: the whole penalty"
    assert "All scans" in page(client, "/t/acme/")
