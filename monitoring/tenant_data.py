"""A tenant's monitoring data as records, for the operator's export."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from django.db import models

from monitoring.ids import time_of
from monitoring.models import Environment, Execution, NodeExecution, Workflow
from monitoring.recording.payload import DamagedPayload, Payload, unpack, value_of
from tenants.models import Tenant

logger = logging.getLogger(__name__)

_PAGE = 200
Record = Mapping[str, object]


def environment_records(tenant: Tenant) -> Iterator[Record]:
    """Every environment, oldest first."""
    for environment in Environment.objects.order_by("pk"):
        yield {
            "id": environment.pk,
            "name": environment.name,
            "slug": environment.slug,
            "provider": environment.provider,
            "base_url": environment.base_url,
        }


def workflow_records(tenant: Tenant) -> Iterator[Record]:
    """Every workflow, in pages by id."""
    for workflow in _by_id(Workflow.objects.all()):
        yield {
            "id": workflow.pk,
            "environment_id": workflow.environment_id,
            "external_id": workflow.external_id,
            "name": workflow.name,
        }


def execution_records(tenant: Tenant) -> Iterator[Record]:
    """Every execution with its nodes and payloads, oldest first, in pages by id."""
    executions = _by_id(Execution.objects.all())
    while page := list(islice(executions, _PAGE)):
        nodes: dict[Any, list[NodeExecution]] = {}
        for node in NodeExecution.objects.filter(execution_id__in=[e.pk for e in page]):
            nodes.setdefault(node.execution_id, []).append(node)
        for execution in page:
            yield _execution_record(execution, nodes.get(execution.pk, []))


def _by_id(found: models.QuerySet[Any]) -> Iterator[Any]:
    """Keyset pages: no cursor stays open while a slow reader downloads."""
    last = None
    while True:
        page = list((found if last is None else found.filter(pk__gt=last)).order_by("pk")[:_PAGE])
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1].pk


def _execution_record(execution: Execution, nodes: list[NodeExecution]) -> Record:
    payload = _payload_of(execution)
    return {
        "id": execution.pk,
        "external_id": execution.external_id,
        "environment_id": execution.environment_id,
        "workflow_id": execution.workflow_id,
        "status": execution.state.slug,
        "time": time_of(execution.pk),
        "started_at": execution.started_at,
        "completed_at": execution.completed_at,
        "duration_ms": execution.duration_ms,
        "trigger_type": execution.trigger_type,
        "attempt": execution.attempt,
        "retry_of": execution.retry_of,
        "parent_execution_id": execution.parent_execution_id,
        "version": execution.version,
        "tags": execution.tags,
        "keys": execution.keys,
        "error_message": execution.error_message,
        "error_stack": payload.error_stack,
        "error_node_id": execution.error_node_id,
        "trigger_data": value_of(payload.trigger_data),
        "raw_log": value_of(payload.raw_log),
        "result": value_of(payload.result),
        "nodes": [
            _node_record(node, payload)
            for node in sorted(nodes, key=lambda n: (n.position or 0, n.run_index))
        ],
    }


def _payload_of(execution: Execution) -> Payload:
    """The payload; an empty one where the stored bytes are damaged: the rest is still theirs."""
    try:
        return unpack(execution.payload)
    except DamagedPayload:
        logger.exception("The payload of execution %s is damaged", execution.pk)
        return Payload()


def _node_record(node: NodeExecution, payload: Payload) -> Record:
    kept = payload.node(node.node_id, node.run_index)
    return {
        "node_id": node.node_id,
        "run_index": node.run_index,
        "name": node.name,
        "type": node.type,
        "status": node.state.slug,
        "started_at": node.started_at,
        "completed_at": node.completed_at,
        "duration_ms": node.duration_ms,
        "attempt": node.attempt,
        "input": value_of(kept.input),
        "output": value_of(kept.output),
        "error_message": node.error_message,
        "error_stack": kept.error_stack,
        "error_details": value_of(kept.error_details),
    }
