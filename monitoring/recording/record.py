"""The canonical record: what every way in (webhook, batch, error workflow, sync, client) becomes.

Records and states hold no cycles, so the garbage collector need not look at them (`gc=False`).
"""

from __future__ import annotations

import datetime as dt
import enum
import operator
import uuid
from typing import Final

import msgspec

from monitoring.words import Status

# Fields of an execution that messages set, in the order of their numbers in `order.FieldKeys`.
# Append only: stored rows hold these numbers.
EXECUTION_FIELDS: Final = (
    "status",
    "started_at",
    "completed_at",
    "updated_at",
    "duration_ms",
    "trigger_type",
    "trigger_data",
    "attempt",
    "retry_of",
    "parent_execution_id",
    "parent_node_id",
    "version",
    "tags",
    "keys",
    "error_message",
    "error_stack",
    "error_node_id",
    "error_details",
    "heartbeat_seconds",
    "raw_log",
    "result",
)
NODE_FIELDS: Final = (
    "status",
    "position",
    "name",
    "type",
    "started_at",
    "completed_at",
    "duration_ms",
    "attempt",
    "input",
    "output",
    "error_message",
    "error_stack",
    "error_details",
    "extra",
)


class NodeRecord(msgspec.Struct, gc=False):
    """One run of one node as a message tells it; None: not told.

    `input`, `output`, `error_details` and `extra` are JSON text, scrubbed and cut. `truncated` is a
    bitmap over NODE_FIELDS.
    """

    node_id: str
    run_index: int
    status: Status
    position: int | None = None
    name: str | None = None
    type: str | None = None
    started_at: dt.datetime | None = None
    completed_at: dt.datetime | None = None
    duration_ms: int | None = None
    attempt: int | None = None
    input: bytes | None = None
    output: bytes | None = None
    error_message: str | None = None
    error_stack: str | None = None
    error_details: bytes | None = None
    extra: bytes | None = None
    input_items: int | None = None
    output_items: int | None = None
    truncated: int = 0


class ExecutionRecord(msgspec.Struct, gc=False):
    """One message about one execution.

    `external_id` None and `idempotency` None: always a new execution. `order_key` is the message's
    (see `recording.order`), `truncated` a bitmap over EXECUTION_FIELDS. Payload fields are JSON
    text, scrubbed and cut.
    """

    tenant_id: int
    environment_id: int
    workflow_external_id: str
    status: Status
    order_key: bytes
    received_at: dt.datetime
    external_id: str | None = None
    workflow_name: str | None = None
    idempotency: Idempotency | None = None
    started_at: dt.datetime | None = None
    completed_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None
    duration_ms: int | None = None
    trigger_type: str | None = None
    trigger_data: bytes | None = None
    attempt: int | None = None
    retry_of: str | None = None
    parent_execution_id: str | None = None
    parent_node_id: str | None = None
    version: str | None = None
    tags: list[str] | None = None
    keys: dict[str, str] | None = None
    error_message: str | None = None
    error_stack: str | None = None
    error_node_id: str | None = None
    error_details: bytes | None = None
    heartbeat_seconds: int | None = None
    raw_log: bytes | None = None
    result: bytes | None = None
    nodes: list[NodeRecord] = []
    truncated: int = 0


class Idempotency(msgspec.Struct, frozen=True):
    """A request's `Idempotency-Key`: hash of path, key and line; hash of the body."""

    digest: bytes
    body_digest: bytes


class Outcome(enum.StrEnum):
    """What became of one record."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    FAILED = "failed"


class Result(msgspec.Struct, gc=False):
    """What became of one record; `reason` says why it was rejected (final) or failed (repeat).

    `kind` names the reason for programs: "key-reused", "too-old", or None for what has no name of its own.
    """

    outcome: Outcome
    id: uuid.UUID | None = None
    external_id: str | None = None
    reason: str | None = None
    kind: str | None = None

    @property
    def created(self) -> bool:
        return self.outcome is Outcome.CREATED


_BITS = tuple(1 << number for number in range(32))
_execution_values = operator.attrgetter(*EXECUTION_FIELDS)
_node_values = operator.attrgetter(*NODE_FIELDS)


def told_by_execution(record: ExecutionRecord) -> int:
    """Bitmap over EXECUTION_FIELDS of what a record brings."""
    return _bitmap(_execution_values(record))


def told_by_node(record: NodeRecord) -> int:
    """Bitmap over NODE_FIELDS of what a node's record brings."""
    return _bitmap(_node_values(record))


def _bitmap(values: tuple[object, ...]) -> int:
    bitmap = 0
    for bit, value in zip(_BITS, values, strict=False):
        if value is not None:
            bitmap |= bit
    return bitmap
