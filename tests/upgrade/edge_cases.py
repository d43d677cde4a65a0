"""A tenant that holds one of everything, for a dump that later versions have to read."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db import connection
from django.test import Client
from django.utils import timezone

from alerts import incidents, telling
from alerts.channels.webhook.channel import new_secret
from alerts.models import AlertSettings, Incident, IncidentEvent
from alerts.policy import policy_for
from monitoring.definitions import store_definition
from monitoring.metrics.rollups import fold_deltas
from monitoring.models import Workflow, WorkflowVersion
from monitoring.recording.contact import mark_lost_step
from monitoring.words import Severity
from scheduling.relay import Relay
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.security.world import Ids, build_world
from tests.tenants.factories import make_token

N8N_WORKFLOWS = Path(__file__).parents[1] / "fixtures" / "n8n-workflows"
_keys = itertools.count()
STATUSES = (
    "pending", "running", "waiting", "success", "error", "partial", "canceled", "skipped",
)  # fmt: skip
ERRORS = (
    "HTTP 401: the key was refused",
    "connect ETIMEDOUT 10.0.0.7:443",
    "Card declined for order 4711",
    "Cannot read properties of undefined (reading 'id')",
    "☃ " + "long " * 200,
)


def build() -> Ids:
    """Store it all; say by what its things are named."""
    ids = build_world().own
    tenant = Tenant.objects.get(pk=ids.tenant)
    # What is older than is kept would be refused.
    tenant.retention_days = 3_650
    tenant.save(update_fields=["retention_days"])
    _, secret = make_token(tenant)
    _send(secret, _messages())
    _end_of_the_waiting(secret)
    with tenant_scope(tenant):
        _versions(tenant)
        _channels(tenant)
        _incidents(tenant)
    _lose_contact()
    _relay_some()
    fold_deltas()
    # What came in last stays unfolded, and its event in the outbox.
    _send(secret, [_message("unfolded", "success")])
    return ids


def _messages() -> Iterator[dict[str, Any]]:
    """Every status, attempt, parent, error class, age and shape of a payload."""
    for status in STATUSES:
        yield _message(f"status-{status}", status)
    for number, error in enumerate(ERRORS):
        for attempt in (1, 2):
            yield _message(
                f"error-{number}-{attempt}",
                "error",
                attempt=attempt,
                error={"message": error, "stack": f"Error: {error}\n  at step", "nodeId": "b"},
                retryOf=f"error-{number}-1" if attempt > 1 else None,
            )
    for days in (1, 8, 40, 120, 400):
        yield _message(f"days-ago-{days}", "success", days=days)
    yield _message("child", "success", parentExecutionId="status-success", parentNodeId="a")
    yield _message("stays-pending", "pending")
    yield _message("promises", "running", heartbeatSeconds=10)
    yield _message("silent", "running", heartbeatSeconds=10)
    yield _message("no-nodes", "success", nodeExecutions=[])
    yield _message("many-nodes", "partial", nodes=60)
    yield _message(
        "scrubbed", "success", result={"password": "hunter2", "list": [1, None, {"deep": ["☃"]}]}
    )


def _message(
    name: str, status: str, *, days: float = 0, nodes: int = 2, **fields: Any
) -> dict[str, Any]:
    began = timezone.now() - dt.timedelta(days=days, minutes=20)
    return {
        "id": name,
        "workflowId": f"edge-{len(name) % 3}",
        "workflowName": f"Edge {len(name) % 3}",
        "status": status,
        "startedAt": began.isoformat(),
        "trigger": {"type": "webhook", "data": {"order": 4711}},
        "tags": ["edge", name],
        "keys": {"order": "4711"},
        "version": "7",
        "nodeExecutions": [
            {
                "nodeId": "ab"[number] if number < 2 else f"node-{number}",
                "nodeName": f"Node {number}",
                "status": status,
                "runIndex": 0,
                "input": [{"number": number}],
                "output": {"text": "x" * number},
            }
            for number in range(nodes)
        ],
    } | fields


def _send(secret: str, messages: Any) -> None:
    """Through the API, one by one, each with an idempotency key."""
    client = Client(headers={"Authorization": f"Bearer {secret}"})
    for message in messages:
        answer = client.post(
            "/api/executions",
            json.dumps(message),
            content_type="application/json",
            headers={"Idempotency-Key": f"key-{next(_keys)}"},
        )
        assert answer.status_code in (200, 201), answer.content


def _end_of_the_waiting(secret: str) -> None:
    """A second message about an execution: merged, not added."""
    _send(secret, [_message("status-waiting", "waiting"), _message("status-pending", "success")])


def _versions(tenant: Tenant) -> None:
    """Two definitions of one workflow."""
    workflow = Workflow.objects.get(external_id="edge-0")
    for file in sorted(N8N_WORKFLOWS.glob("00[12]-*.json")):
        document = json.loads(file.read_text())
        source = WorkflowVersion.Source(WorkflowVersion.Source.values[0])
        store_definition(workflow, document, source=source, by=None)


def _channels(tenant: Tenant) -> None:
    AlertSettings.objects.update(
        webhook_url="https://hooks.example.com/in", webhook_secret=new_secret()
    )


def _incidents(tenant: Tenant) -> None:
    """One in each state that a person or time can bring it to."""
    now = timezone.now()
    workflow = Workflow.objects.get(external_id="edge-1")
    states: dict[str, dict[str, Any]] = {
        "acknowledged": {"acknowledged_by": "Ada", "acknowledged_at": now},
        "resolved": {"resolved_at": now},
    }
    for state, fields in states.items():
        incident = Incident.objects.create(
            tenant=tenant,
            rule="failures",
            subject=f"{state}:{workflow.pk}",
            workflow=workflow,
            severity=Severity.WARNING,
            title=f"It was {state}",
            detail="Five of five failed",
            count=5,
            counted_from=now,
            opened_at=now,
            last_at=now,
            **fields,
        )
        incidents.note(incident, IncidentEvent.Kind.OPENED, now, "opened")
        telling.tell(
            incident, incident.notifications.model.Kind.OPENED, policy_for(workflow.pk), now
        )


def _lose_contact() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE monitoring_signoflife SET heard_at = heard_at - interval '1 day',"
            " due_at = due_at - interval '1 day' WHERE execution_id IN"
            " (SELECT id FROM monitoring_execution WHERE external_id = 'silent')"
        )
    mark_lost_step()


def _relay_some() -> None:
    """Make due what a relayed event makes due; what was not yet relayed stays in the outbox."""
    Relay().step()
