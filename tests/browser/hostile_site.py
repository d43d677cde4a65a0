"""A tenant in which every text that can be sent or typed is one of the payloads.

There is one execution for each payload, and each field of it takes another one: over all executions
every field holds every payload. One more execution has a node for each payload.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from django.utils import timezone

from alerts.incidents import note
from alerts.models import (
    AlertSettings,
    Attempt,
    Incident,
    IncidentEvent,
    Notification,
    Target,
    WorkflowPreference,
)
from alerts.telling import message_of
from monitoring import bulk
from monitoring.history import ExecutionQuery
from monitoring.models import BulkJob, Environment, Execution, NodeExecution, Workflow
from monitoring.providers.n8n import error_workflow
from monitoring.recording.environments import source_for
from monitoring.recording.record import ExecutionRecord
from monitoring.recording.schema import Source, decode, full_execution, short_log
from monitoring.recording.store import record_executions
from monitoring.words import Severity
from scheduling import schedules
from scheduling.models import Finding, Scan, ScannedWorkflow, Schedule
from tenants import audit
from tenants.lifecycle import suspend
from tenants.models import ApiToken, AuditEvent, Membership, Role, Scope, Tenant, User
from tenants.scoping import tenant_scope
from tenants.tokens import issue_token
from tests.browser.payloads import PAYLOADS
from tests.tenants.factories import PASSWORD

STATUSES = ("error", "success", "running", "waiting", "partial", "canceled")
Pick = Callable[[], str]


@dataclass(frozen=True, slots=True)
class HostileSite:
    """The tenant and what its pages are about."""

    tenant: Tenant
    owner: User
    member: Membership
    environment: Environment
    token: ApiToken
    job: BulkJob
    event: AuditEvent
    executions: list[uuid.UUID]
    workflows: list[int]
    many_nodes: uuid.UUID
    node_ids: list[str]
    ids: dict[str, int]
    """Ids of higher apps' things, by their names in addresses."""


def build_hostile_site(size: int = len(PAYLOADS)) -> HostileSite:
    """Store it; its owner is an operator of the installation, too, and sees the admin.

    With a smaller `size` there are fewer rows of everything, and not every payload everywhere.
    """
    tenant = Tenant.objects.create(
        name=PAYLOADS[5], slug="hostile", location_id=PAYLOADS[8] + PAYLOADS[10]
    )
    owner = User.objects.create_superuser("owner@hostile.example", PASSWORD, name=PAYLOADS[6])
    Membership.objects.create(tenant=tenant, user=owner, role=Role.OWNER)
    with tenant_scope(tenant):
        environments = [_environment(tenant, number) for number in range(0, size, 6)]
        tokens = [
            issue_token(tenant, name=payload, scopes=[Scope.READ], created_by=owner)[0]
            for payload in PAYLOADS[:size]
        ]
        event, *_ = [
            audit.record("test.mark", tenant=tenant, actor=payload, subject=payload, what=payload)
            for payload in PAYLOADS[:size]
        ]
    members = [_member(tenant, number) for number in range(0, size, 3)]
    suspend(Tenant.objects.create(name=PAYLOADS[11], slug="hostile-suspended"))
    _record(tenant, environments, size)
    with tenant_scope(tenant):
        many_nodes = Execution.objects.get(workflow__external_id="many-nodes").id
        query = ExecutionQuery(workflow_ids=(1,), error_text=PAYLOADS[0])
        found = _scans(tenant, size)
        _incidents(tenant, size)
        return HostileSite(
            tenant=tenant,
            owner=owner,
            member=members[0],
            environment=environments[0],
            token=tokens[0],
            job=bulk.start_deletion(
                tenant, bulk.preview(query), said=PAYLOADS[5], expected=1, by=owner
            ),
            event=event,
            executions=list(
                # Short logs and calls of error workflows have no version.
                Execution.objects.exclude(version=None).values_list("id", flat=True)
            ),
            workflows=list(Workflow.objects.values_list("pk", flat=True)),
            many_nodes=many_nodes,
            node_ids=list(
                NodeExecution.objects.filter(execution_id=many_nodes).values_list(
                    "node_id", flat=True
                )
            ),
            ids=found | {"incident_id": Incident.objects.latest("pk").pk},
        )


def _scans(tenant: Tenant, size: int) -> dict[str, int]:
    """Two scans that found something in a workflow for each payload, on a schedule."""
    schedule = Schedule(tenant=tenant, name=PAYLOADS[0], is_default=True)
    schedules.save(schedule, [])
    workflows = list(Workflow.objects.order_by("pk")[:size])
    scans = []
    for shift in range(2):
        scan = Scan.objects.create(
            tenant=tenant, status=Scan.Status.COMPLETED, completed_at=timezone.now()
        )
        scans.append(scan.pk)
        for number, workflow in enumerate(workflows):
            ScannedWorkflow.objects.create(
                tenant=tenant, scan=scan, workflow=workflow, execution_penalty=0, findings=1
            )
            payload = PAYLOADS[(number + shift) % len(PAYLOADS)]
            Finding.objects.create(
                tenant=tenant,
                scan=scan,
                workflow=workflow,
                rule="no-trigger",
                severity=Severity.CRITICAL,
                node_id=payload[:255],
                node_name=payload[:255],
                message=payload,
                fix=payload,
                evidence=payload,
                fingerprint=f"{number}-{shift}",
            )
    return {"schedule_id": schedule.pk, "scan_id": scans[1], "other_id": scans[0]}


def _incidents(tenant: Tenant, size: int) -> None:
    """An incident for each payload, told to an address and refused with another one."""
    now = timezone.now()
    AlertSettings.objects.create(tenant=tenant, emails=["a@example.com"])
    target = Target.objects.create(tenant=tenant, channel="email", address=PAYLOADS[1])
    for number, workflow in enumerate(Workflow.objects.order_by("pk")[:size]):
        payload = PAYLOADS[number % len(PAYLOADS)]
        incident = Incident.objects.create(
            tenant=tenant,
            rule=payload[:40],
            subject=str(number),
            workflow=workflow,
            severity=Severity.CRITICAL,
            title=payload,
            detail=payload,
            suppressed=payload,
            acknowledged_by=payload[:255],
            acknowledged_at=now,
            opened_at=now,
            last_at=now,
        )
        note(incident, IncidentEvent.Kind.OPENED, now, payload, by=payload[:255])
        message = message_of(incident, Notification.Kind.OPENED, tenant, now)
        notification = Notification.objects.create(
            tenant=tenant,
            incident=incident,
            target=target,
            kind="opened",
            state="failed",
            reason=payload,
            content=message.stored(),
            created_at=now,
        )
        Attempt.objects.create(
            tenant=tenant,
            notification=notification,
            target=target,
            at=now,
            latency_ms=5,
            is_delivered=False,
            reached=True,
            said=payload,
        )
        preference = {"enabled": True, "emails": [PAYLOADS[1]]}
        WorkflowPreference.objects.create(tenant=tenant, workflow=workflow, **preference)


def _environment(tenant: Tenant, number: int) -> Environment:
    return Environment.objects.create(
        tenant=tenant,
        name=PAYLOADS[number],
        slug=f"environment-{number}",
        provider="n8n",
        # No form takes this, but a page must not trust that.
        base_url="javascript:alert(1)//https://n8n.example" if number == 0 else "https://a.example",
    )


def _member(tenant: Tenant, number: int) -> Membership:
    """A member whose name and mail address are payloads, as far as an address can be one."""
    address = f'"<img src=x onerror=alert({number})>"@mail.example'
    person = User.objects.create_user(address, name=PAYLOADS[number])
    return Membership.objects.create(tenant=tenant, user=person, role=Role.VIEWER)


# --- what is sent ---------------------------------------------------------------------------------
def _record(tenant: Tenant, environments: list[Environment], size: int) -> None:
    source = source_for(tenant.pk)
    records: list[ExecutionRecord] = []
    now = timezone.now()
    for number in range(size):
        started = now - dt.timedelta(minutes=10 * number + 5)
        environment = environments[number % len(environments)]
        message = _execution(_picking(number), started, STATUSES[number % len(STATUSES)])
        body = json.dumps(message | {"environmentId": environment.pk}).encode()
        records.append(full_execution(decode(body), body, source))
        records += [_short(_picking(number), source), _error_workflow(_picking(number), source)]
    body = json.dumps(_many_nodes(now - dt.timedelta(minutes=1), size)).encode()
    records.append(full_execution(decode(body), body, source))
    refused = [result for result in record_executions(records) if result.id is None]
    assert not refused, refused


def _picking(number: int) -> Pick:
    """Give another payload at each call, beginning with that of this number."""
    places = count(number)
    return lambda: PAYLOADS[next(places) % len(PAYLOADS)]


def _execution(pick: Pick, started: dt.datetime, status: str) -> dict[str, Any]:
    is_finished = status not in ("running", "waiting")
    return {
        "id": pick(),
        "workflowId": pick(),
        "workflowName": pick(),
        "status": status,
        "startedAt": started.isoformat(),
        "completedAt": (started + dt.timedelta(seconds=4)).isoformat() if is_finished else None,
        "trigger": {"type": pick(), "data": {pick(): [pick()]}},
        "error": {"message": pick(), "stack": f"{pick()}\n  at {pick()}", "nodeId": "second"},
        "version": pick(),
        "retryOf": pick(),
        "parent": {"executionId": pick(), "nodeId": pick()},
        "tags": [pick(), pick()],
        "keys": {pick(): pick()},
        "result": {pick(): pick()},
        "unknownField": {pick(): pick()},
        "nodeExecutions": [_node("first", pick, "success"), _node("second", pick, status)],
    }


def _node(node_id: str, pick: Pick, status: str) -> dict[str, Any]:
    return {
        "nodeId": node_id,
        "nodeName": pick(),
        "nodeType": pick(),
        "status": status,
        "durationMs": 1_500,
        "input": [{pick(): pick()}],
        "output": {pick(): {pick(): [pick()]}},
        "error": {"message": pick(), "stack": pick(), pick(): pick()},
        "unknownField": {pick(): pick()},
    }


def _many_nodes(started: dt.datetime, size: int) -> dict[str, Any]:
    nodes = []
    for number, payload in enumerate(PAYLOADS[:size]):
        nodes.append(_node(payload, _picking(number), STATUSES[number % 2]))
    return {
        "id": "many-nodes",
        "workflowId": "many-nodes",
        "workflowName": PAYLOADS[9],
        "status": "error",
        "startedAt": started.isoformat(),
        "completedAt": (started + dt.timedelta(seconds=9)).isoformat(),
        "nodeExecutions": nodes,
    }


def _short(pick: Pick, source: Source) -> ExecutionRecord:
    message = {
        "status": "failed",
        "workflowName": pick(),
        "failedActionId": pick(),
        "failedActionName": pick(),
        "errorMessage": pick(),
        "executionTimeMs": 12,
        pick(): pick(),
    }
    body = json.dumps(message).encode()
    return short_log(decode(body), body, source, workflow_id=pick())


def _error_workflow(pick: Pick, source: Source) -> ExecutionRecord:
    message = {
        "execution": {
            "id": pick(),
            "url": f"https://n8n.example/{pick()}",
            "error": {"message": pick(), "stack": pick(), "name": pick(), pick(): pick()},
            "lastNodeExecuted": pick(),
            "mode": pick(),
        },
        "workflow": {"id": pick(), "name": pick()},
    }
    body = json.dumps(message).encode()
    return error_workflow.execution_of(decode(body), body, source)
