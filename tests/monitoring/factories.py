"""Small makers of history for tests: what is not said gets a plain value."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from django.utils import timezone

from monitoring.ids import milliseconds, new_id
from monitoring.models import (
    Environment,
    ErrorGroup,
    Execution,
    ExecutionKey,
    NodeExecution,
    Workflow,
)
from monitoring.recording.classify import classify
from monitoring.recording.environments import source_for
from monitoring.recording.fingerprint import fingerprint, mask
from monitoring.recording.payload import NodePayload, Payload, node_key, pack
from monitoring.recording.schema import decode, full_execution
from monitoring.recording.store import record_executions
from monitoring.words import Status, severity_of
from tenants.models import Membership, Role, Tenant, User
from tenants.scoping import tenant_scope

_numbers = itertools.count(1)


def make_tenant(slug: str = "", **fields: Any) -> Tenant:
    """A tenant with its `default` environment."""
    slug = slug or f"tenant-{next(_numbers)}"
    tenant = Tenant.objects.create(slug=slug, name=fields.pop("name", slug.title()), **fields)
    make_environment(tenant, name="Default", slug="default", is_default=True)
    return tenant


def make_member(tenant: Tenant, role: Role = Role.VIEWER, **fields: Any) -> User:
    """A person with that role in the tenant."""
    email = fields.pop("email", f"person{next(_numbers)}@example.com")
    user = User.objects.create_user(email=email, password="right-horse-battery", **fields)
    Membership.objects.create(tenant=tenant, user=user, role=role)
    return user


def make_environment(tenant: Tenant, **fields: Any) -> Environment:
    number = next(_numbers)
    values = {"name": f"n8n {number}", "slug": f"n8n-{number}"} | fields
    with tenant_scope(tenant):
        return Environment.objects.create(tenant=tenant, **values)


def make_workflow(environment: Environment, **fields: Any) -> Workflow:
    number = next(_numbers)
    values = {"external_id": f"wf-{number}", "name": f"Workflow {number}"} | fields
    with tenant_scope(environment.tenant):
        return Workflow.objects.create(tenant=environment.tenant, environment=environment, **values)


@dataclass
class NodeSpec:
    """A node execution to make; `starts_ms` counts from the execution's start, None: unknown."""

    node_id: str
    status: Status = Status.SUCCESS
    run_index: int = 0
    starts_ms: int | None = 0
    duration_ms: int | None = 100
    error_message: str | None = None
    stack: str | None = None
    input: Any = None
    output: Any = None
    fields: dict[str, Any] = field(default_factory=dict)


def make_execution(
    workflow: Workflow,
    status: Status = Status.SUCCESS,
    *,
    started_at: dt.datetime | None = None,
    nodes: Sequence[NodeSpec] = (),
    payload: Payload | None = None,
    error_message: str | None = None,
    **fields: Any,
) -> Execution:
    """An execution as the store would leave it, with its nodes, key and error group."""
    started_at = started_at or timezone.now() - dt.timedelta(minutes=5)
    tenant = workflow.tenant
    duration_ms = fields.pop("duration_ms", 1_200 if status.is_finished else None)
    completed_at = (
        None if duration_ms is None else started_at + dt.timedelta(milliseconds=duration_ms)
    )
    values: dict[str, Any] = {
        "id": new_id(milliseconds(started_at)),
        "external_id": f"run-{next(_numbers)}",
        "started_at": started_at,
        "completed_at": completed_at,
        "trigger_type": "webhook",
        "node_count": len(nodes),
        "node_done_count": sum(node.status.is_finished for node in nodes),
        "received_at": started_at,
        "changed_at": started_at,
        "order_keys": b"",
    }
    if error_message is not None:
        values |= _error_fields(tenant, error_message)
    with tenant_scope(tenant):
        execution = Execution.objects.create(
            tenant=tenant,
            environment=workflow.environment,
            workflow=workflow,
            status=status,
            duration_ms=duration_ms,
            payload=pack(_with_nodes(payload or Payload(), nodes)),
            **values | fields,
        )
        if execution.external_id is not None:
            ExecutionKey.objects.create(
                tenant=tenant,
                environment_id=workflow.environment_id,
                workflow_id=workflow.pk,
                external_id=execution.external_id,
                execution_id=execution.id,
            )
        for position, node in enumerate(nodes):
            _make_node(execution, node, position, started_at)
    return execution


def make_executions(workflow: Workflow, number: int, **fields: Any) -> list[uuid.UUID]:
    """Many plain executions one second apart, the newest first; their ids in that order."""
    newest = fields.pop("newest", timezone.now() - dt.timedelta(minutes=1))
    status = fields.pop("status", Status.SUCCESS)
    moments = [newest - dt.timedelta(seconds=second) for second in range(number)]
    rows = [
        Execution(
            id=new_id(milliseconds(moment)),
            tenant=workflow.tenant,
            environment=workflow.environment,
            workflow=workflow,
            status=status,
            **{
                "started_at": moment,
                "received_at": moment,
                "changed_at": moment,
                "duration_ms": 500,
                "trigger_type": "schedule",
                "order_keys": b"",
            }
            | fields,
        )
        for moment in moments
    ]
    with tenant_scope(workflow.tenant):
        Execution.objects.bulk_create(rows, batch_size=1_000)
    return [row.id for row in rows]


def _error_fields(tenant: Tenant, message: str) -> dict[str, Any]:
    title = mask(message)
    error_class = classify(message)
    with tenant_scope(tenant):
        ErrorGroup.objects.get_or_create(
            tenant=tenant,
            fingerprint=fingerprint(title),
            defaults={"title": title, "sample": message, "error_class": error_class},
        )
    return {
        "error_message": message,
        "error_class": error_class,
        "severity": severity_of(error_class),
        "fingerprint": fingerprint(title),
    }


def _with_nodes(payload: Payload, nodes: Sequence[NodeSpec]) -> Payload:
    parts = {
        node_key(node.node_id, node.run_index): NodePayload(
            input=_raw(node.input), output=_raw(node.output), error_stack=node.stack
        )
        for node in nodes
        if (node.input, node.output, node.stack) != (None, None, None)
    }
    return msgspec.structs.replace(payload, nodes=payload.nodes | parts)


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _make_node(execution: Execution, node: NodeSpec, position: int, start: dt.datetime) -> None:
    began = None if node.starts_ms is None else start + dt.timedelta(milliseconds=node.starts_ms)
    ended = began and began + dt.timedelta(milliseconds=node.duration_ms or 0)
    values: dict[str, Any] = {
        "name": node.node_id.replace("-", " ").title(),
        "type": "n8n-nodes-base.httpRequest",
        "position": position,
        "input_bytes": _size(node.input),
        "output_bytes": _size(node.output),
        "input_items": len(node.input) if isinstance(node.input, list) else None,
        "output_items": len(node.output) if isinstance(node.output, list) else None,
    }
    NodeExecution.objects.create(
        tenant_id=execution.tenant_id,
        execution_id=execution.id,
        node_id=node.node_id,
        run_index=node.run_index,
        status=node.status,
        started_at=began,
        completed_at=ended if node.duration_ms is not None else None,
        duration_ms=node.duration_ms,
        error_message=node.error_message,
        order_keys=b"",
        **values | node.fields,
    )


def _size(value: Any) -> int | None:
    return None if value is None else len(msgspec.json.encode(value))


def record_executions_of(
    workflow: Workflow,
    number: int,
    *,
    status: str = "success",
    newest: dt.datetime | None = None,
    step: dt.timedelta = dt.timedelta(seconds=1),
    **fields: Any,
) -> list[uuid.UUID]:
    """Executions that came in by the one way in, so that rollups count them; the newest first."""
    newest = newest or timezone.now() - dt.timedelta(minutes=1)
    source = source_for(workflow.tenant_id, requested_environment_id=workflow.environment_id)
    records = []
    for place in range(number):
        began = newest - place * step
        message = {
            "id": f"sent-{next(_numbers)}",
            "workflowId": workflow.external_id,
            "workflowName": workflow.name,
            "status": status,
            "startedAt": began.isoformat(),
            "durationMs": 500,
        } | fields
        body = json.dumps(message).encode()
        records.append(full_execution(decode(body), body, source))
    results = record_executions(records)
    assert all(result.created for result in results), results
    return [result.id for result in results if result.id is not None]
