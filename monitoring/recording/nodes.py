"""The node executions of a message."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from monitoring.recording.failure import failure_of
from monitoring.recording.fields import LARGEST_INTEGER, Fields, spellings, type_name
from monitoring.recording.record import NODE_FIELDS, NodeRecord

_FIELDS = spellings(
    "node_id", "node_name", "node_type", "status", "started_at", "completed_at", "duration_ms",
    "input", "output", "error", "run_index", "attempt",
)  # fmt: skip


def nodes_of(execution: Fields) -> list[NodeRecord]:
    """The nodes of a full execution; those with errors are left out, the errors are kept."""
    items = execution.values.get("node_executions")
    if items is None:
        return []
    if type(items) is not list:
        execution.fail("node_executions", f"must be a list, not {type_name(items)}")
        return []
    most = settings.LIMITS.nodes
    if len(items) > most:
        execution.fail("node_executions", f"has {len(items)} nodes, at most {most} are allowed")
        return []
    return _distinct(execution, items)


def _distinct(execution: Fields, items: list[Any]) -> list[NodeRecord]:
    occurrences: dict[str, int] = {}
    nodes: dict[tuple[str, int], NodeRecord] = {}
    for position, item in enumerate(items):
        node = _node(execution, item, position, occurrences)
        if node is not None and nodes.setdefault((node.node_id, node.run_index), node) is not node:
            execution.fail(
                "node_executions", f"names run {node.run_index} of node {node.node_id!r} twice"
            )
    return list(nodes.values())


def _node(
    execution: Fields, item: Any, position: int, occurrences: dict[str, int]
) -> NodeRecord | None:
    """`occurrences` counts how often each node id has come: the run index of those without one."""
    if type(item) is not dict:
        execution.fail(f"node_executions.{position}", f"must be an object, not {type_name(item)}")
        return None
    fields = execution.within(item, _FIELDS, f"nodeExecutions.{position}")
    node_id = fields.identity("node_id", required=True)
    if node_id is None:
        return None
    occurrence = occurrences.get(node_id, 0)
    occurrences[node_id] = occurrence + 1
    run_index = fields.integer("run_index", 0, LARGEST_INTEGER)
    failure = failure_of(fields)
    values = fields.values
    node = NodeRecord(
        node_id=node_id,
        run_index=occurrence if run_index is None else run_index,
        status=fields.status(),
        position=position,
        name=fields.text("node_name"),
        type=fields.text("node_type"),
        started_at=fields.time("started_at"),
        completed_at=fields.time("completed_at"),
        duration_ms=fields.duration("duration_ms"),
        attempt=fields.integer("attempt", 0, LARGEST_INTEGER),
        input=fields.payload("input", values.get("input")),
        output=fields.payload("output", values.get("output")),
        error_message=failure.message,
        error_stack=failure.stack,
        error_details=failure.details,
        extra=fields.payload("extra", fields.unknown or None),
        input_items=_item_count(values.get("input")),
        output_items=_item_count(values.get("output")),
    )
    if fields.truncated:
        node.truncated = fields.bitmap(NODE_FIELDS)
    return node


def _item_count(value: Any) -> int | None:
    """Items of a node's data: a list's length; any other value is one item."""
    if value is None:
        return None
    return len(value) if type(value) is list else 1
