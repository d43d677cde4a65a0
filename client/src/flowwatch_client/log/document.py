"""Executions as programs see them: requirement 002's shape, in camelCase."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from flowwatch_client.rows import ExecutionRow, NodeRow

Document = dict[str, Any]


def execution_document(execution: ExecutionRow, nodes: Iterable[NodeRow]) -> Document:
    """The whole execution; absent is what was never said, further fields stand beside the known."""
    return {
        **_value(execution.extra, {}),
        **_said(
            id=execution.id,
            workflowId=execution.workflow_id,
            workflowName=execution.workflow_name,
            status=execution.status,
            startedAt=execution.started_at,
            completedAt=execution.completed_at,
            durationMs=execution.duration_ms,
            trigger={"type": execution.trigger_type, "data": _value(execution.trigger_data)},
            error=_error(execution.error_message, execution.error_stack, execution.error_node_id),
            attempt=execution.attempt,
            retryOf=execution.retry_of,
            parent=_parent(execution),
            version=execution.version,
            tags=_value(execution.tags),
            keys=_value(execution.keys),
            result=_value(execution.result),
            heartbeatSeconds=execution.heartbeat_seconds,
            nodeExecutions=[node_document(node) for node in nodes],
        ),
    }


def node_document(node: NodeRow) -> Document:
    """One node execution of `nodeExecutions`."""
    return {
        **_value(node.extra, {}),
        **_said(
            nodeId=node.node_id,
            nodeName=node.node_name,
            nodeType=node.node_type,
            status=node.status,
            startedAt=node.started_at,
            completedAt=node.completed_at,
            durationMs=node.duration_ms,
            input=_value(node.input),
            output=_value(node.output),
            error=_error(node.error_message, node.error_stack),
            runIndex=node.run_index,
            attempt=node.attempt,
        ),
    }


def _said(**fields: Any) -> Document:
    return {name: value for name, value in fields.items() if value is not None}


def _error(message: str | None, stack: str | None, node_id: str | None = None) -> Document | None:
    if message is None and stack is None:
        return None
    return _said(message=message or "", stack=stack, nodeId=node_id)


def _parent(execution: ExecutionRow) -> Document | None:
    if execution.parent_execution_id is None:
        return None
    return _said(executionId=execution.parent_execution_id, nodeId=execution.parent_node_id)


def _value(text: str | None, default: Any = None) -> Any:
    """The value of a JSON text; a text that others wrote into the file stays a text."""
    if text is None:
        return default
    try:
        return json.loads(text)
    except ValueError:
        return text if default is None else default
