"""A tenant's monitoring data as records, for the operator's export."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.db import models
from django.db.models.functions import Length

from monitoring.definitions import document_of
from monitoring.ids import time_of
from monitoring.models import (
    Environment,
    ErrorGroup,
    Execution,
    Level,
    NodeExecution,
    Rollup,
    SavedView,
    Subject,
    Workflow,
    WorkflowVersion,
)
from monitoring.recording.payload import DamagedPayload, Payload, unpack, value_of
from monitoring.words import ErrorClass, Status
from tenants.models import Tenant

logger = logging.getLogger(__name__)

_PAGE = 200
# What one reading of nodes and payloads may hold; an execution that is larger is read alone.
_SLICE_NODES = 5_000
_SLICE_BYTES = 4 * 1024 * 1024
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


def day_records(tenant: Tenant) -> Iterator[Record]:
    """Every workflow's numbers by day (UTC), which outlive its executions; what is folded of them."""
    for workflow_id in Workflow.objects.order_by("pk").values_list("pk", flat=True):
        days = Rollup.objects.filter(
            subject_kind=Subject.WORKFLOW, subject_id=workflow_id, level=Level.DAY
        )
        for day in days.order_by("bucket"):
            yield {
                "workflow_id": workflow_id,
                "day": day.bucket.date(),
                "counts": {status.slug: day.counts[status] for status in Status},
                "duration_ms": sum(day.duration_sums),
                "with_duration": sum(day.duration_counts),
            }


def error_group_records(tenant: Tenant) -> Iterator[Record]:
    """Every error group; it outlives its executions, too."""
    for group in _by_id(ErrorGroup.objects.all()):
        yield {
            "fingerprint": bytes(group.fingerprint).hex(),
            "title": group.title,
            "sample": group.sample,
            "error_class": ErrorClass(group.error_class).slug,
            "created_at": group.created_at,
        }


def view_records(tenant: Tenant) -> Iterator[Record]:
    """Every saved view of the list of executions."""
    for view in SavedView.objects.all():
        yield {"name": view.name, "query": view.query, "created_at": view.created_at.isoformat()}


def version_records(tenant: Tenant) -> Iterator[Record]:
    """Every version of every workflow's definition, as it is stored: without secrets."""
    # Each body is read on its own, when its turn comes: together they may be large.
    for version in _by_id(WorkflowVersion.objects.defer("body")):
        yield {
            "workflow_id": version.workflow_id,
            "number": version.number,
            "created_at": version.created_at.isoformat(),
            "source": version.source,
            "is_active": version.is_active,
            "definition": document_of(version),
        }


def execution_records(tenant: Tenant) -> Iterator[Record]:
    """Every execution with its nodes and payloads, oldest first; memory does not grow with them."""
    sized = Execution.objects.without_payload().annotate(payload_bytes=Length("payload"))
    for few in _slices(_by_id(sized)):
        ids = [execution.pk for execution in few]
        payloads = dict(Execution.objects.filter(id__in=ids).values_list("id", "payload"))
        nodes: dict[uuid.UUID, list[NodeExecution]] = {}
        for node in NodeExecution.objects.filter(execution_id__in=ids).in_order():
            nodes.setdefault(node.execution_id, []).append(node)
        for execution in few:
            # One deleted since it was listed has no payload any more.
            payload = _unpacked(execution, payloads.pop(execution.pk, None))
            yield _execution_record(execution, payload, nodes.pop(execution.pk, []))


def _slices(executions: Iterable[Any]) -> Iterator[list[Any]]:
    """Executions in lists whose nodes and packed payloads fit into memory together."""
    few: list[Any] = []
    nodes = size = 0
    for execution in executions:
        nodes += execution.node_count
        size += execution.payload_bytes or 0
        if few and (nodes > _SLICE_NODES or size > _SLICE_BYTES or len(few) >= _PAGE):
            yield few
            few, nodes, size = [], execution.node_count, execution.payload_bytes or 0
        few.append(execution)
    if few:
        yield few


def _by_id(found: models.QuerySet[Any]) -> Iterator[Any]:
    """Keyset pages: no cursor stays open while a slow reader downloads."""
    last = None
    while True:
        page = list((found if last is None else found.filter(pk__gt=last)).order_by("pk")[:_PAGE])
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1].pk


def _execution_record(execution: Execution, payload: Payload, nodes: list[NodeExecution]) -> Record:
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
        "nodes": [_node_record(node, payload) for node in nodes],
    }


def _unpacked(execution: Execution, packed: bytes | memoryview | None) -> Payload:
    """The payload; an empty one where the stored bytes are damaged: the rest is still theirs."""
    try:
        return unpack(packed)
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
