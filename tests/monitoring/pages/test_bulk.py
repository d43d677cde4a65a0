"""Deleting executions: the effect is shown before, the progress after."""

from __future__ import annotations

import re
from html import unescape

import msgspec
import pytest
from django.db import DatabaseError, OperationalError
from django.test import Client
from django.utils import timezone

from monitoring import bulk, history
from monitoring.history import ExecutionQuery
from monitoring.models import BulkJob, Execution, Workflow
from monitoring.words import Status
from tenants.models import AuditEvent, Role, Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.factories import (
    make_environment,
    make_execution,
    make_executions,
    make_member,
    make_tenant,
    make_workflow,
    record_executions_of,
)

pytestmark = pytest.mark.django_db
LIST = "/t/agency/executions/"


def left(tenant: Tenant) -> int:
    with tenant_scope(tenant):
        return Execution.objects.count()


def preview(admin: Client, query: str) -> str:
    """Ask to delete all that match `query`; what the button that confirms it holds."""
    page = unescape(admin.post(f"{LIST}delete/{query}", {"all_matching": "1"}).content.decode())
    frozen = re.search(r'name="frozen" value="([^"]+)"', page)
    assert frozen is not None
    return frozen[1]


def confirm(admin: Client, query: str, frozen: str = "") -> str:
    """Confirm a preview, by default a new one of `query`; the address of the progress page."""
    frozen = frozen or preview(admin, query)
    response = admin.post(f"{LIST}delete/{query}", {"frozen": frozen})
    assert response.status_code == 302
    return response["Location"]


@pytest.mark.parametrize(
    "query",
    [
        "?q=status:bogus",
        "?q=-status:failed",
        "?min=soon",
        "?status=faild",
        "?environment=99999",
        "?fingerprint=zz",
        "?range=sometimes",
        "?start=soon",
        "?start=2026-02-01&end=2026-01-01",
        "?status=failed&start=soon",
    ],
)
def test_a_filter_that_is_not_understood_neither_deletes_nor_exports(
    admin: Client, workflow: Workflow, query: str
) -> None:
    make_execution(workflow)
    answer = admin.post(f"{LIST}delete/{query}", {"all_matching": "1"})
    assert (answer.status_code, answer["Location"].startswith(LIST)) == (302, True)
    refused = admin.get(f"{LIST}export.csv{query}")
    assert (refused.status_code, "Nothing to export." in refused.text) == (400, True)
    page = admin.get(answer["Location"], follow=True)
    assert b'id="shape"' not in page.content
    assert "nothing is shown" in page.text
    [cleared] = re.findall(r'href="([^"]*)">Clear the filters', page.text)
    assert b'id="shape"' in admin.get(LIST + unescape(cleared), follow=True).content


def test_chosen_rows_are_deleted_after_a_preview(
    admin: Client, tenant: Tenant, workflow: Workflow
) -> None:
    ids = [str(one) for one in make_executions(workflow, 5)]
    preview = admin.post(f"{LIST}delete/", {"id": ids[:2]}).content.decode()
    assert "Delete 2 executions?" in preview
    assert left(tenant) == 5
    admin.post(f"{LIST}delete/", {"id": ids[:2], "confirm": "1"})
    assert left(tenant) == 3
    with tenant_scope(tenant):
        assert AuditEvent.objects.filter(action="executions.delete").exists()


def test_nothing_chosen_deletes_nothing(admin: Client, tenant: Tenant, workflow: Workflow) -> None:
    make_executions(workflow, 3)
    assert admin.post(f"{LIST}delete/", {"confirm": "1"}).status_code == 302
    assert left(tenant) == 3


def test_all_that_match_are_deleted_in_steps(
    admin: Client, tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "STEP", 10)
    record_executions_of(workflow, 25, status="failed")
    record_executions_of(workflow, 4)
    progress = confirm(admin, "?status=failed")
    assert left(tenant) == 29
    make_execution(workflow, Status.FAILED, started_at=timezone.now())  # not previewed
    assert "Waiting for the worker" in admin.get(progress).content.decode()
    assert bulk.work_step()
    assert left(tenant) == 20
    assert "10 of about 25" in admin.get(progress).content.decode()
    while bulk.work_step():
        pass
    assert left(tenant) == 5
    done = admin.get(progress).content.decode()
    assert "Done" in done
    assert "hx-trigger" not in done


def test_what_comes_late_with_an_older_start_is_not_deleted(
    admin: Client, tenant: Tenant, workflow: Workflow
) -> None:
    """Found by attack: the job went by start alone and deleted more than its preview counted."""
    record_executions_of(workflow, 3, status="failed")
    frozen = preview(admin, "?status=failed")
    record_executions_of(workflow, 2, status="failed")  # while somebody reads the preview
    confirm(admin, "?status=failed", frozen)
    record_executions_of(workflow, 1, status="failed")
    while bulk.work_step():
        pass
    assert left(tenant) == 3


def test_a_job_is_stopped_and_keeps_what_it_did(
    admin: Client, tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "STEP", 10)
    make_executions(workflow, 25)
    progress = confirm(admin, "")
    bulk.work_step()
    admin.post(f"{progress}cancel/")
    assert not bulk.work_step()
    assert left(tenant) == 15
    assert "Canceled" in admin.get(progress).content.decode()


def test_a_scan_that_finds_nothing_for_a_while_goes_on(
    tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history.reading, "SCAN_ROWS", 10)
    monkeypatch.setattr(history.reading, "FIRST_SLICE", 10)
    ids = make_executions(workflow, 35)
    with tenant_scope(tenant):
        Execution.objects.filter(id=ids[33]).update(trigger_type="form")
        person = make_member(tenant, Role.ADMIN)
        shown = bulk.preview(ExecutionQuery(trigger="form"))
        bulk.start_deletion(tenant, shown, said="", expected=None, by=person)
    steps = 0
    while bulk.work_step():
        steps += 1
    assert steps > 2
    assert left(tenant) == 34


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (DatabaseError("broken"), "failed"),
        (msgspec.ValidationError("of another version"), "failed"),
        (OperationalError("passes"), "waiting"),
    ],
)
def test_a_step_that_fails_is_put_off_or_ends_the_job(
    tenant: Tenant,
    workflow: Workflow,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    state: str,
) -> None:
    make_execution(workflow)
    with tenant_scope(tenant):
        person = make_member(tenant, Role.ADMIN)
        shown = bulk.preview(ExecutionQuery())
        job = bulk.start_deletion(tenant, shown, said="", expected=1, by=person)
        other = bulk.start_deletion(tenant, shown, said="", expected=1, by=person)

    def refuse(*args: object) -> int:
        raise error

    monkeypatch.setattr(bulk, "delete_executions", refuse)
    bulk.work_step()
    with tenant_scope(tenant):
        job = BulkJob.objects.get(pk=job.pk)
    assert (job.state, bool(job.problem)) == (state, state == "failed")
    assert left(tenant) == 1
    monkeypatch.undo()
    bulk.work_step()
    with tenant_scope(tenant):
        other.refresh_from_db()
    assert (other.state, left(tenant)) == ("done", 0), "it waited for the one that failed"


def test_one_execution_is_deleted_after_a_preview(
    admin: Client, tenant: Tenant, workflow: Workflow
) -> None:
    execution = make_execution(workflow)
    make_execution(workflow)
    address = f"{LIST}{execution.id}/delete/?status=success"
    assert "Delete this execution?" in admin.get(address).content.decode()
    response = admin.post(address)
    assert response["Location"] == f"{LIST}?status=success"
    assert left(tenant) == 1
    assert admin.get(address).status_code == 404


def test_a_confirmation_of_another_tenant_counts_for_nothing(
    admin: Client, tenant: Tenant, workflow: Workflow
) -> None:
    other = make_tenant("stranger")
    make_execution(make_workflow(make_environment(other)))
    person = make_member(other, Role.ADMIN)
    frozen = preview(admin, "")
    admin.force_login(person)
    for text in (frozen, "nonsense", frozen + "x"):
        answer = admin.post("/t/stranger/executions/delete/", {"frozen": text})
        assert answer.status_code in (400, 404)
    with tenant_scope(other):
        assert not BulkJob.objects.exists()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_only_admins_delete(client: Client, tenant: Tenant, workflow: Workflow, role: Role) -> None:
    execution = make_execution(workflow)
    client.force_login(make_member(tenant, role))
    chosen = {"id": [str(execution.id)], "confirm": "1"}
    assert client.post(f"{LIST}delete/", chosen).status_code == 403
    assert client.post(f"{LIST}{execution.id}/delete/").status_code == 403
    assert left(tenant) == 1


def test_foreign_executions_are_not_deleted(
    admin: Client, tenant: Tenant, workflow: Workflow
) -> None:
    other = make_tenant("stranger")
    foreign = make_execution(make_workflow(make_environment(other)))
    admin.post(f"{LIST}delete/", {"id": [str(foreign.id)], "confirm": "1"})
    assert admin.post(f"{LIST}{foreign.id}/delete/").status_code == 404
    assert left(other) == 1
