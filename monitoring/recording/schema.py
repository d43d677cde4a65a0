"""What senders may send: from JSON to the canonical record, with every error said at its place.

Two shapes (API.md, ingest): a full execution with nodes, and a short log of one finished run.
Errors are collected, so that a sender sees all of them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from django.conf import settings

from monitoring.recording import order
from monitoring.recording.decoding import FieldError, InvalidMessage, NotJson, decode
from monitoring.recording.failure import failure_of
from monitoring.recording.fields import EARLIEST, LARGEST_INTEGER, Fields, spellings
from monitoring.recording.nodes import nodes_of
from monitoring.recording.record import EXECUTION_FIELDS, ExecutionRecord, NodeRecord
from monitoring.words import Status

__all__ = [
    "FieldError",
    "InvalidMessage",
    "NotJson",
    "Source",
    "decode",
    "full_execution",
    "is_short_log",
    "short_log",
]

_EXECUTION = spellings(
    "id", "workflow_id", "workflow_name", "environment_id", "status", "started_at", "completed_at",
    "updated_at", "duration_ms", "trigger", "node_executions", "error", "attempt", "retry_of",
    "parent", "version", "tags", "keys", "heartbeat_seconds", "result",
)  # fmt: skip
_SHORT = spellings(
    "id", "workflow_id", "workflow_name", "environment_id", "status", "failed_action_id",
    "failed_action_name", "error_message", "execution_time_ms", "executed_at",
)  # fmt: skip
_TRIGGER = spellings("type", "data")
_PARENT = spellings("execution_id", "node_id")
_SHORT_STATUSES = frozenset({Status.SUCCESS, Status.FAILED, Status.PARTIAL})


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Where a message comes from: fills what it does not say itself.

    `environment_id` is the token's (then the message can't choose) or None; `known_environments`
    are the tenant's own.
    """

    tenant_id: int
    received_at: dt.datetime
    default_environment_id: int
    environment_id: int | None = None
    known_environments: frozenset[int] = frozenset()


def full_execution(message: Any, body: bytes, source: Source) -> ExecutionRecord:
    """The record of a full execution (requirement 002).

    `body` is the text of `message`: its hash orders equal messages. Raises InvalidMessage.
    """
    fields = Fields.of_message(message, body, _EXECUTION, source.received_at)
    status = fields.status()
    started_at, completed_at, updated_at = map(
        fields.time, ("started_at", "completed_at", "updated_at")
    )
    trigger = fields.inner("trigger", _TRIGGER)
    parent = fields.inner("parent", _PARENT)
    failure = failure_of(fields)
    record = ExecutionRecord(
        tenant_id=source.tenant_id,
        environment_id=_environment(fields, source),
        workflow_external_id=fields.identity("workflow_id", required=True) or "",
        workflow_name=fields.text("workflow_name"),
        external_id=fields.identity("id"),
        status=status,
        order_key=order.order_key(
            status, (completed_at, updated_at, started_at), order.body_hash(body)
        ),
        received_at=source.received_at,
        started_at=started_at,
        completed_at=completed_at,
        updated_at=updated_at,
        duration_ms=fields.duration("duration_ms"),
        trigger_type=trigger.text("type"),
        trigger_data=fields.payload("trigger_data", trigger.values.get("data")),
        attempt=fields.integer("attempt", 0, LARGEST_INTEGER),
        retry_of=fields.identity("retry_of"),
        parent_execution_id=parent.identity("execution_id"),
        parent_node_id=parent.identity("node_id"),
        version=fields.identity("version"),
        tags=fields.tags("tags"),
        keys=fields.keys("keys"),
        error_message=failure.message,
        error_stack=failure.stack,
        error_node_id=failure.node_id,
        error_details=failure.details,
        heartbeat_seconds=fields.integer("heartbeat_seconds", 5, 3_600),
        raw_log=fields.payload("raw_log", fields.unknown or None),
        result=fields.payload("result", fields.values.get("result")),
        nodes=nodes_of(fields),
    )
    return _checked(record, fields)


def short_log(
    message: Any, body: bytes, source: Source, *, workflow_id: str | None = None
) -> ExecutionRecord:
    """The record of a short log (requirements 000 and 001); `workflow_id` from the path wins.

    The failed action becomes one failed node execution; unknown fields are kept as the raw log.
    Raises InvalidMessage.
    """
    fields = Fields.of_message(message, body, _SHORT, source.received_at)
    if workflow_id is not None:
        fields.values["workflow_id"] = workflow_id
    status = fields.status(_SHORT_STATUSES)
    started_at = fields.time("executed_at")
    error_message = fields.long_text(
        "error_message", fields.values.get("error_message"), settings.LIMITS.error_message_bytes
    )
    action_id = fields.identity("failed_action_id")
    action_name = fields.text("failed_action_name")
    record = ExecutionRecord(
        tenant_id=source.tenant_id,
        environment_id=_environment(fields, source),
        workflow_external_id=fields.identity("workflow_id", required=True) or "",
        workflow_name=fields.text("workflow_name"),
        external_id=fields.identity("id"),
        status=status,
        order_key=order.order_key(status, (started_at,), order.body_hash(body)),
        received_at=source.received_at,
        started_at=started_at,
        duration_ms=fields.duration("execution_time_ms"),
        error_message=error_message,
        error_node_id=action_id or action_name,
        raw_log=fields.payload("raw_log", fields.unknown or None),
        nodes=_failed_action(action_id, action_name, error_message),
    )
    return _checked(record, fields)


def is_short_log(message: Any) -> bool:
    """Whether a line of a batch has the short shape.

    It names a field that only the short shape knows, and none that only the full one knows. What
    both know is read as full, which allows every status.
    """
    return (
        type(message) is dict
        and any(name in message for name in _SHORT_ONLY)
        and not any(name in message for name in _FULL_ONLY)
    )


_SHORT_ONLY = _SHORT.keys() - _EXECUTION.keys()
# These few say nothing about the shape.
_FULL_ONLY = _EXECUTION.keys() - _SHORT.keys() - {"result", "version", "tags", "keys", "attempt"}


def _environment(fields: Fields, source: Source) -> int:
    """DESIGN: the token's environment, else the message's, else the tenant's default one."""
    wanted = fields.integer("environment_id", 1, 2**63 - 1)
    if source.environment_id is not None:
        return source.environment_id
    if wanted is None:
        return source.default_environment_id
    if wanted not in source.known_environments:
        fields.fail("environment_id", "names no environment of this tenant")
    return wanted


def _failed_action(
    action_id: str | None, action_name: str | None, error_message: str | None
) -> list[NodeRecord]:
    if action_id is None and action_name is None:
        return []
    return [
        NodeRecord(
            node_id=action_id or action_name or "",
            run_index=0,
            status=Status.FAILED,
            position=0,
            name=action_name,
            error_message=error_message,
        )
    ]


def _checked(record: ExecutionRecord, fields: Fields) -> ExecutionRecord:
    if record.started_at is None and record.duration_ms is not None:
        start = record.received_at - dt.timedelta(milliseconds=record.duration_ms)
        if start < EARLIEST:
            fields.errors.append(FieldError("durationMs", "puts the start before 2000-01-01"))
    if fields.errors:
        raise InvalidMessage(fields.errors)
    record.truncated = fields.bitmap(EXECUTION_FIELDS)
    return record
