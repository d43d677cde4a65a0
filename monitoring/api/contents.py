"""What stands beside the rows of executions: payloads and nodes, read within a budget.

One execution is read whole. A list reads as many as fit into the budget; the others say that their
contents were left out, so no page grows with what senders put into its rows.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models.functions import Substr

from monitoring.models import Execution, NodeExecution
from monitoring.recording.payload import (
    HEAD_BYTES,
    DamagedPayload,
    Payload,
    unpack,
    unpacked_size,
)

logger = logging.getLogger(__name__)

BUDGET_BYTES = 8 * 1024 * 1024
BUDGET_NODES = 10_000


@dataclass(frozen=True, slots=True)
class Contents:
    """An execution's payload and its nodes in their order."""

    payload: Payload = field(default_factory=Payload)
    nodes: list[NodeExecution] = field(default_factory=list)
    is_omitted: bool = False


def contents_of(execution: Execution) -> Contents:
    """The whole contents of one execution."""
    return Contents(
        _payloads([execution.id]).get(execution.id) or Payload(), nodes_of(execution.id)
    )


def contents_of_many(
    executions: Sequence[Execution], *, with_nodes: bool = True
) -> dict[uuid.UUID, Contents]:
    """Execution id → contents, as far as they fit into the budget. At most three statements."""
    chosen = _within_budget(executions, with_nodes)
    payloads = _payloads(chosen)
    nodes: dict[uuid.UUID, list[NodeExecution]] = {}
    if with_nodes and chosen:
        for node in _ordered(chosen):
            nodes.setdefault(node.execution_id, []).append(node)
    found = {
        execution_id: Contents(payloads.get(execution_id) or Payload(), nodes.get(execution_id, []))
        for execution_id in chosen
    }
    left_out = Contents(is_omitted=True)
    return {each.id: found.get(each.id, left_out) for each in executions}


def nodes_of(execution_id: uuid.UUID) -> list[NodeExecution]:
    """The nodes of an execution in their order."""
    return _ordered([execution_id])


def _ordered(ids: Sequence[uuid.UUID]) -> list[NodeExecution]:
    return list(NodeExecution.objects.filter(execution_id__in=ids).in_order())


def _within_budget(executions: Sequence[Execution], with_nodes: bool) -> list[uuid.UUID]:
    sizes = _sizes([each.id for each in executions])
    space, nodes = BUDGET_BYTES, BUDGET_NODES
    chosen = []
    for each in executions:
        size = sizes.get(each.id, 0)
        count = each.node_count if with_nodes else 0
        if size <= space and count <= nodes:
            space, nodes = space - size, nodes - count
            chosen.append(each.id)
    return chosen


def _sizes(ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Unpacked size of each payload, read from the head of its frame."""
    heads = Execution.objects.filter(id__in=ids, payload__isnull=False).values_list(
        "id", Substr("payload", 1, HEAD_BYTES)
    )
    return {execution_id: unpacked_size(bytes(head)) for execution_id, head in heads}


def _payloads(ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Payload]:
    rows = Execution.objects.filter(id__in=ids).values_list("id", "payload")
    return {execution_id: _unpacked(execution_id, packed) for execution_id, packed in rows}


def _unpacked(execution_id: uuid.UUID, packed: bytes | memoryview | None) -> Payload:
    try:
        return unpack(packed)
    except DamagedPayload:
        # The rest of the execution still answers; the damage is the operator's to look into.
        logger.exception("The payload of execution %s is damaged", execution_id)
        return Payload()
