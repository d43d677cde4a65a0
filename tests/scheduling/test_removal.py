"""Each tenant's turn to have its past executions removed."""

from __future__ import annotations

import datetime as dt

import pytest
from django.test import Client
from django.utils import timezone

from monitoring.database import database_now
from monitoring.horizon import next_turn
from monitoring.models import Execution, RetentionRun
from monitoring.recording.store import record_executions
from monitoring.retention import removal as steps
from scheduling import removal
from scheduling.due import drain
from scheduling.models import Removal
from tenants.models import AuditEvent, Role, Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.counted import message
from tests.monitoring.factories import make_environment, make_member, make_tenant, make_workflow

pytestmark = pytest.mark.django_db(transaction=True)


def make_past(number: int) -> Tenant:
    """A tenant with that many past executions."""
    tenant = make_tenant(retention_days=30, retention_minimum=0)
    workflow = make_workflow(make_environment(tenant))
    began = timezone.now() - dt.timedelta(days=40)
    record_executions([message(workflow, began + dt.timedelta(hours=n)) for n in range(number)])
    return tenant


def make_due() -> None:
    removal.plan_step()
    with across_tenants():
        Removal.objects.update(due_at=database_now())


def turn_of(tenant: Tenant) -> Removal:
    with tenant_scope(tenant):
        return Removal.objects.get()


def test_each_living_tenant_has_one_turn() -> None:
    tenants = [make_tenant() for _ in range(3)]
    Tenant.objects.filter(pk=tenants[0].pk).update(deletion_requested_at=timezone.now())
    assert not removal.plan_step()
    assert not removal.plan_step()
    with across_tenants():
        found = {turn.tenant_id: turn.due_at for turn in Removal.objects.all()}
    assert found.keys() == {tenant.pk for tenant in tenants[1:]}
    now = timezone.now()
    assert all(due and now < due < now + dt.timedelta(days=1) for due in found.values())


def test_a_turn_goes_on_until_nothing_is_left_and_rests_until_the_next_day(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps, "STEP", 2)
    tenant = make_past(5)
    make_due()
    assert not drain("removal", seconds=20)
    with tenant_scope(tenant):
        assert not Execution.objects.exists()
        run = RetentionRun.objects.get()
    assert (run.state, run.removed) == ("done", 5)
    due_at = turn_of(tenant).due_at
    assert due_at is not None
    assert due_at > timezone.now()


def test_what_a_person_stops_rests_until_the_next_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "STEP", 2)
    tenant = make_past(5)
    with tenant_scope(tenant):
        assert steps.remove_step(tenant)
        assert steps.cancel(RetentionRun.objects.get(), "ada@example.org")
    make_due()
    assert not drain("removal", seconds=20)
    with tenant_scope(tenant):
        assert Execution.objects.count() == 3
        assert RetentionRun.objects.get().state == "canceled"
        due_at = turn_of(tenant).due_at
        assert due_at == next_turn(tenant.pk, database_now())
        RetentionRun.objects.update(ended_at=timezone.now() - dt.timedelta(days=1))
    make_due()
    assert not drain("removal", seconds=20)
    with tenant_scope(tenant):
        assert not Execution.objects.exists()


def test_what_is_given_up_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = make_past(3)
    monkeypatch.setattr(steps, "STEP", 2)
    with tenant_scope(tenant):
        steps.remove_step(tenant)
    make_due()
    with across_tenants():
        Removal.objects.update(attempts=5)
    drain("removal", seconds=5)
    with tenant_scope(tenant):
        run = RetentionRun.objects.get()
    assert run.state == "failed"
    assert "status page" in run.problem
    assert turn_of(tenant).quarantined_at is not None


def test_an_admin_has_it_run_now(client: Client) -> None:
    tenant = make_past(3)
    removal.plan_step()
    client.force_login(make_member(tenant, Role.ADMIN))
    page = f"/t/{tenant.slug}/settings/retention/"
    assert "Run now" in client.get(page).content.decode()
    assert not drain("removal", seconds=20)
    assert client.post(f"{page}run/").status_code == 302
    with tenant_scope(tenant):
        assert Execution.objects.count() == 3
        assert AuditEvent.objects.filter(action="retention.run").exists()
    assert not drain("removal", seconds=20)
    with tenant_scope(tenant):
        assert not Execution.objects.exists()
    assert "Run now" not in client.get(page).content.decode(), "nothing is past"


def test_what_was_stopped_is_not_run_now(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "STEP", 2)
    tenant = make_past(3)
    removal.plan_step()
    with tenant_scope(tenant):
        assert steps.remove_step(tenant)
        steps.cancel(RetentionRun.objects.get(), "ada@example.org")
    client.force_login(make_member(tenant, Role.ADMIN))
    page = f"/t/{tenant.slug}/settings/retention/"
    assert "It was stopped" in client.post(f"{page}run/", follow=True).content.decode()
    assert not drain("removal", seconds=20)
    with tenant_scope(tenant):
        assert Execution.objects.count() == 1
