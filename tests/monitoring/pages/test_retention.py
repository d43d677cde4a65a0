"""Settings → Retention."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from django.test import Client
from django.utils import timezone

from monitoring.horizon import next_turn
from monitoring.models import Execution, PastWeek, RetentionRun, Workflow
from monitoring.recording.store import record_executions
from monitoring.retention import removal
from tenants.models import AuditEvent, Tenant
from tenants.scoping import tenant_scope
from tenants.times import utc_text
from tests.monitoring.counted import message

pytestmark = pytest.mark.django_db
PAGE = "/t/agency/settings/retention/"


def get(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def save(client: Client, days: int, minimum: int, **more: str) -> tuple[int, str]:
    answer = client.post(
        PAGE, {"retention_days": str(days), "retention_minimum": str(minimum)} | more
    )
    return answer.status_code, answer.content.decode()


def settings_of(tenant: Tenant) -> tuple[int, int]:
    tenant.refresh_from_db()
    return tenant.retention_days, tenant.retention_minimum


@pytest.fixture
def history(workflow: Workflow) -> None:
    now = timezone.now()
    ages = (1, 40, 41, 42)
    record_executions([message(workflow, now - dt.timedelta(days=age)) for age in ages])


def test_it_says_what_is_kept(admin: Client, history: None) -> None:
    page = get(admin, PAGE)
    assert "about 4 executions" in page
    assert "nothing from before" in page
    assert "Nothing has gone yet" in page


def test_keeping_longer_is_saved_at_once(admin: Client, tenant: Tenant, history: None) -> None:
    assert save(admin, 365, 10)[0] == 302
    assert settings_of(tenant) == (365, 10)
    with tenant_scope(tenant):
        event = AuditEvent.objects.get(action="retention.change")
    assert event.detail == {
        "days": 365,
        "days_before": 90,
        "minimum": 10,
        "minimum_before": 100,
    }
    log = get(admin, "/t/agency/settings/audit/")
    for name, value in event.detail.items():
        assert f'<span class="muted">{name.replace("_", " ")}</span> {value}' in log


def test_what_would_go_is_asked_about_first(admin: Client, tenant: Tenant, history: None) -> None:
    status, page = save(admin, 30, 0)
    assert status == 200
    assert "About 3 executions" in page
    turn = next_turn(tenant.pk, timezone.now())
    assert f"Save; removal begins at {turn:%H:%M}" in page
    assert settings_of(tenant) == (90, 100)
    # What was seen is not what is chosen now.
    assert save(admin, 20, 0, confirm="30 0")[0] == 200
    assert save(admin, 30, 0, confirm="30 0")[0] == 302
    assert settings_of(tenant) == (30, 0)
    with tenant_scope(tenant):
        assert Execution.objects.count() == 4, "nothing goes before the next run"


def test_the_minimum_limits_what_would_go(admin: Client, tenant: Tenant, history: None) -> None:
    assert "About 1 execution<" in save(admin, 30, 3)[1]
    assert save(admin, 30, 4)[0] == 302


@pytest.mark.parametrize(("days", "minimum"), [(0, 1), (3_651, 1), (30, -1), (30, 10_001)])
def test_limits_are_said_at_the_field(
    admin: Client, tenant: Tenant, days: int, minimum: int
) -> None:
    status, page = save(admin, days, minimum)
    assert status == 422
    assert "aria-invalid" in page
    assert settings_of(tenant) == (90, 100)


def test_runs_show_and_can_be_stopped(
    admin: Client, tenant: Tenant, history: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "STEP", 2)
    Tenant.objects.update(retention_days=30, retention_minimum=0)
    tenant.refresh_from_db()
    with tenant_scope(tenant):
        removal.remove_step(tenant)
        run = RetentionRun.objects.get()
    page = get(admin, PAGE)
    assert "2 of about 3" in page
    assert 'hx-trigger="every 2s"' in page
    part = admin.get(PAGE, headers={"HX-Target": "runs"}).content.decode()
    assert part.lstrip().startswith("<section")
    assert admin.post(f"{PAGE}{run.pk}/cancel/").status_code == 302
    with tenant_scope(tenant):
        assert AuditEvent.objects.filter(action="retention.cancel").exists()
    page = get(admin, PAGE)
    assert "Canceled" in page
    assert "Stopped by " in page
    assert 'hx-trigger="every 2s"' not in page


def test_a_run_that_nobody_works_on_is_said_to_wait(admin: Client, tenant: Tenant) -> None:
    now = timezone.now()
    with tenant_scope(tenant):
        RetentionRun.objects.create(tenant=tenant, horizon=now)
    assert "Running" in get(admin, PAGE)
    with tenant_scope(tenant):
        RetentionRun.objects.update(changed_at=now - dt.timedelta(minutes=2))
    page = get(admin, PAGE)
    assert "Running" not in page
    assert "goes on <time" in page


def test_a_week_that_goes_as_a_whole_shows(admin: Client, tenant: Tenant) -> None:
    start = timezone.now() - dt.timedelta(days=98)
    PastWeek.objects.create(start=start, keep_from=[[tenant.pk + 1, str(uuid.uuid4())]], kept=[])
    assert "Going now" not in get(admin, PAGE)
    PastWeek.objects.update(keep_from=[[tenant.pk, str(uuid.uuid4())]])
    assert "Going now" in get(admin, PAGE)
    with tenant_scope(tenant):
        RetentionRun.objects.create(tenant=tenant, horizon=start, state="done", weeks=1)
    assert "whole week" in get(admin, PAGE)


def test_the_list_says_that_its_number_counts_what_is_gone(
    admin: Client, tenant: Tenant, history: None
) -> None:
    def count(days: int) -> str:
        start = (timezone.now() - dt.timedelta(days=days)).isoformat()
        answer = admin.get(
            "/t/agency/executions/", {"start": start}, headers={"HX-Target": "shape"}
        )
        return answer.content.decode()

    Tenant.objects.update(retention_days=30, retention_minimum=0)
    tenant.refresh_from_db()
    assert "no longer kept" not in count(60)
    with tenant_scope(tenant):
        while removal.remove_step(tenant):
            pass
    assert "4 match" in count(60)
    assert "no longer kept" in count(60)
    assert "no longer kept" not in count(20)


def remove_all_past(tenant: Tenant, days: int, minimum: int = 0) -> None:
    Tenant.objects.update(retention_days=days, retention_minimum=minimum)
    tenant.refresh_from_db()
    with tenant_scope(tenant):
        while removal.remove_step(tenant):
            pass


def list_of(client: Client, first: int, last: int, **filters: str) -> str:
    """The list of what began between so many days ago."""
    now = timezone.now()
    start, end = (utc_text(now - dt.timedelta(days=days)) for days in (first, last))
    answer = client.get("/t/agency/executions/", {"start": start, "end": end, **filters})
    return " ".join(answer.content.decode().split())


def test_an_empty_list_tells_of_what_ran_and_is_no_longer_kept(
    viewer: Client, tenant: Tenant, workflow: Workflow, history: None
) -> None:
    remove_all_past(tenant, days=30)
    gone = list_of(viewer, 50, 35)
    assert "3 ran between" in gone
    assert "no longer kept" in gone
    assert "No execution matches" not in gone
    assert "3 ran between" in list_of(viewer, 50, 35, workflow=str(workflow.pk), status="success")


def test_an_empty_list_does_not_claim_to_know_what_only_single_executions_could_tell(
    viewer: Client, tenant: Tenant, history: None
) -> None:
    remove_all_past(tenant, days=30)
    page = list_of(viewer, 50, 35, error="timed out")
    assert "No execution matches" in page
    assert "are no longer kept, so what matched among them is not known" in page


@pytest.mark.parametrize(("first", "last"), [(80, 60), (20, 10)])
def test_an_empty_list_of_days_without_any_says_no_more_than_that(
    viewer: Client, tenant: Tenant, history: None, first: int, last: int
) -> None:
    remove_all_past(tenant, days=30)
    page = list_of(viewer, first, last)
    assert "No execution matches" in page
    assert "no longer kept" not in page


def test_a_tenant_of_which_all_is_gone_is_not_taken_for_a_new_one(
    viewer: Client, tenant: Tenant, workflow: Workflow
) -> None:
    old = timezone.now() - dt.timedelta(days=40)
    record_executions([message(workflow, old)])
    remove_all_past(tenant, days=30)
    assert "1 ran between" in list_of(viewer, 50, 1)
    assert "No execution matches" in get(viewer, "/t/agency/executions/")


def test_only_admins_see_it(viewer: Client) -> None:
    assert viewer.get(PAGE).status_code == 403
