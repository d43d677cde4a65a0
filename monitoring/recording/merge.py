"""One execution's state and how messages change it: field by field, whatever their order.

A state holds what senders told (`recording.order` says which message set each field) and derives the
rest from it: durations from two stamps, the failing node, error class, fingerprint, node counts.
Because the told fields merge as maxima and the rest is a function of them, any order of the same
messages ends in the same state.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from monitoring.failing_node import ran_last
from monitoring.ids import milliseconds as epoch_milliseconds
from monitoring.ids import new_id
from monitoring.recording.classify import classify
from monitoring.recording.fingerprint import fingerprint, mask
from monitoring.recording.order import FieldKeys, pack_single
from monitoring.recording.payload import (
    DamagedPayload,
    ExecutionTooLarge,
    NodePayload,
    Payload,
    node_key,
    pack,
    unpack,
)
from monitoring.recording.record import (
    EXECUTION_FIELDS,
    NODE_FIELDS,
    ExecutionRecord,
    NodeRecord,
    told_by_execution,
    told_by_node,
)
from monitoring.words import ErrorClass, Severity, Status, severity_of

logger = logging.getLogger(__name__)

_MILLISECOND = dt.timedelta(milliseconds=1)
# Messages for one execution add up; every further one reads all nodes, and so does its page.
MOST_NODES = 20_000

# Told fields that live in the payload: name in the record -> name in Payload / NodePayload.
_EXECUTION_PAYLOAD = frozenset(
    {"trigger_data", "raw_log", "result", "error_stack", "error_details"}
)
_NODE_PAYLOAD = frozenset({"input", "output", "error_stack", "error_details", "extra"})
_JSON_PAYLOAD = (_EXECUTION_PAYLOAD | _NODE_PAYLOAD) - {"error_stack"}

_EXECUTION_NUMBER = {name: number for number, name in enumerate(EXECUTION_FIELDS)}
_NODE_NUMBER = {name: number for number, name in enumerate(NODE_FIELDS)}
EXECUTION_COLUMNS = tuple(name for name in EXECUTION_FIELDS if name not in _EXECUTION_PAYLOAD)

NodeIdentity = tuple[str, int]


class NodeState(msgspec.Struct, gc=False):
    """One node run: told columns, and bytes and items of what the payload holds."""

    node_id: str
    run_index: int
    status: Status
    order_keys: bytes
    position: int | None = None
    name: str | None = None
    type: str | None = None
    started_at: dt.datetime | None = None
    completed_at: dt.datetime | None = None
    duration_ms: int | None = None
    attempt: int | None = None
    error_message: str | None = None
    input_bytes: int | None = None
    output_bytes: int | None = None
    input_items: int | None = None
    output_items: int | None = None
    is_new: bool = True
    is_changed: bool = True

    @property
    def duration(self) -> int | None:
        """Told duration, else the time between the stamps; milliseconds."""
        return _duration(self.duration_ms, self.started_at, self.completed_at)


class Derived(msgspec.Struct, frozen=True, gc=False):
    """What follows from the told fields."""

    duration_ms: int | None
    error_message: str | None
    error_node_id: str | None
    error_node_name: str | None
    error_class: ErrorClass | None
    severity: Severity | None
    error_title: str | None
    fingerprint: bytes | None
    node_count: int
    node_done_count: int


class Contribution(msgspec.Struct, frozen=True, gc=False):
    """What one execution adds to the counters of its bucket; durations only of finished runs."""

    status: Status
    duration_ms: int | None
    error_class: ErrorClass | None
    nodes: tuple[tuple[str, Status, int | None], ...]


def _nothing_stored() -> bytes | None:
    return None


class ExecutionState(msgspec.Struct, gc=False):
    """One execution: told columns, nodes and payload.

    `payload` is None until `open_payload` reads what is stored (by `read_payload`) for a change.
    """

    tenant_id: int
    id: uuid.UUID
    environment_id: int
    workflow_id: int
    external_id: str | None
    status: Status
    order_keys: bytes
    received_at: dt.datetime
    changed_at: dt.datetime
    started_at: dt.datetime | None = None
    completed_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None
    duration_ms: int | None = None
    trigger_type: str | None = None
    attempt: int | None = None
    retry_of: str | None = None
    parent_execution_id: str | None = None
    parent_node_id: str | None = None
    version: str | None = None
    tags: list[str] | None = None
    keys: dict[str, str] | None = None
    error_message: str | None = None
    error_node_id: str | None = None
    heartbeat_seconds: int | None = None
    lost_contact_at: dt.datetime | None = None
    nodes: dict[NodeIdentity, NodeState] = {}
    read_payload: Callable[[], bytes | None] = _nothing_stored
    payload: Payload | None = None
    is_new: bool = True
    before: Contribution | None = None

    def open_payload(self) -> Payload:
        """The payload for changing; packed again when the state is written."""
        if self.payload is None:
            try:
                self.payload = unpack(self.read_payload())
            except DamagedPayload:
                # What can't be read can't be merged: what comes now must not be lost with it.
                logger.exception("The payload of execution %s is damaged", self.id)
                self.payload = Payload()
        return self.payload

    def pack_payload(self) -> bytes | None:
        """Compressed bytes of an opened payload; None when it is empty or was not opened."""
        return None if self.payload is None else pack(self.payload)


def _duration(
    told: int | None, started_at: dt.datetime | None, completed_at: dt.datetime | None
) -> int | None:
    """Both stamps are the sender's own, so one clock measured them; a negative time is unknown."""
    if told is not None or started_at is None or completed_at is None:
        return told
    return None if completed_at < started_at else (completed_at - started_at) // _MILLISECOND


def first_id(record: ExecutionRecord) -> uuid.UUID:
    """A new id at the first known start: the told one, else the receive time less the duration."""
    start = record.started_at
    if start is None:
        start = record.received_at - dt.timedelta(milliseconds=record.duration_ms or 0)
    return new_id(epoch_milliseconds(start))


def new_state(record: ExecutionRecord, execution_id: uuid.UUID, workflow_id: int) -> ExecutionState:
    """The state after an execution's first message."""
    payload = Payload()
    for name in _EXECUTION_PAYLOAD:
        _set_payload(payload, name, getattr(record, name))
    key = record.order_key
    return ExecutionState(
        tenant_id=record.tenant_id,
        id=execution_id,
        environment_id=record.environment_id,
        workflow_id=workflow_id,
        external_id=record.external_id,
        status=record.status,
        order_keys=pack_single(key, told_by_execution(record), record.truncated),
        received_at=record.received_at,
        changed_at=record.received_at,
        started_at=record.started_at,
        completed_at=record.completed_at,
        updated_at=record.updated_at,
        duration_ms=record.duration_ms,
        trigger_type=record.trigger_type,
        attempt=record.attempt,
        retry_of=record.retry_of,
        parent_execution_id=record.parent_execution_id,
        parent_node_id=record.parent_node_id,
        version=record.version,
        tags=record.tags,
        keys=record.keys,
        error_message=record.error_message,
        error_node_id=record.error_node_id,
        heartbeat_seconds=record.heartbeat_seconds,
        nodes={
            (node.node_id, node.run_index): _new_node(node, key, payload) for node in record.nodes
        },
        payload=payload,
    )


def _new_node(node: NodeRecord, key: bytes, payload: Payload) -> NodeState:
    for name in _NODE_PAYLOAD:
        value = getattr(node, name)
        if value is not None:
            _set_node_payload(payload, node, name, value)
    return NodeState(
        node_id=node.node_id,
        run_index=node.run_index,
        status=node.status,
        order_keys=pack_single(key, told_by_node(node), node.truncated),
        position=node.position,
        name=node.name,
        type=node.type,
        started_at=node.started_at,
        completed_at=node.completed_at,
        duration_ms=node.duration_ms,
        attempt=node.attempt,
        error_message=node.error_message,
        input_bytes=None if node.input is None else len(node.input),
        output_bytes=None if node.output is None else len(node.output),
        input_items=node.input_items,
        output_items=node.output_items,
    )


def _set_payload(payload: Payload | NodePayload, name: str, value: Any) -> None:
    if value is not None:
        setattr(payload, name, msgspec.Raw(value) if name in _JSON_PAYLOAD else value)


def _set_node_payload(payload: Payload, node: NodeRecord, name: str, value: Any) -> None:
    key = node_key(node.node_id, node.run_index)
    of_node = payload.nodes.get(key)
    if of_node is None:
        of_node = payload.nodes[key] = NodePayload()
    _set_payload(of_node, name, value)


def merge(state: ExecutionState, record: ExecutionRecord) -> bool:
    """Take from a further message what it wins; return whether anything changed.

    Raises ExecutionTooLarge; the state is of no use then.
    """
    keys = FieldKeys.unpack(state.order_keys)
    told = FieldKeys.of_message(
        record.order_key, _bits(told_by_execution(record)), record.truncated
    )
    won = keys.take(told)
    for number in won:
        name = EXECUTION_FIELDS[number]
        if name in _EXECUTION_PAYLOAD:
            _set_payload(state.open_payload(), name, getattr(record, name))
        else:
            setattr(state, name, getattr(record, name))
    if won:
        state.order_keys = keys.pack()
    changed = bool(won)
    for node in record.nodes:
        changed |= _merge_node(state, node, record.order_key)
    if changed:
        state.changed_at = max(state.changed_at, record.received_at)
    return changed


def _merge_node(state: ExecutionState, node: NodeRecord, key: bytes) -> bool:
    identity = (node.node_id, node.run_index)
    known = state.nodes.get(identity)
    if known is None:
        if len(state.nodes) >= MOST_NODES:
            raise ExecutionTooLarge(
                f"An execution holds at most {MOST_NODES:,} node executions in all."
            )
        state.nodes[identity] = _new_node(node, key, state.open_payload())
        return True
    keys = FieldKeys.unpack(known.order_keys)
    won = keys.take(FieldKeys.of_message(key, _bits(told_by_node(node)), node.truncated))
    for number in won:
        name = NODE_FIELDS[number]
        value = getattr(node, name)
        if name in _NODE_PAYLOAD:
            _set_node_payload(state.open_payload(), node, name, value)
            if name in ("input", "output"):
                setattr(known, f"{name}_bytes", len(value))
                setattr(known, f"{name}_items", getattr(node, f"{name}_items"))
        else:
            setattr(known, name, value)
    if won:
        known.order_keys = keys.pack()
        known.is_changed = True
    return bool(won)


def _bits(bitmap: int) -> Iterable[int]:
    while bitmap:
        lowest = bitmap & -bitmap
        yield lowest.bit_length() - 1
        bitmap ^= lowest


def told_execution_columns(order_keys: bytes) -> frozenset[str]:
    """Which columns of a stored row were told; the others were derived when it was written."""
    keys = FieldKeys.unpack(order_keys)
    return frozenset(name for name in EXECUTION_COLUMNS if _EXECUTION_NUMBER[name] in keys)


def told_node_duration(order_keys: bytes) -> bool:
    return _NODE_NUMBER["duration_ms"] in FieldKeys.unpack(order_keys)


def derive(state: ExecutionState) -> Derived:
    """What follows from the told fields of a state."""
    failed = ran_last(node for node in state.nodes.values() if node.status is Status.FAILED)
    message, node_id, node_name = state.error_message, state.error_node_id, None
    if node_id is not None:
        named = [
            (n.run_index, n.name) for n in state.nodes.values() if n.node_id == node_id and n.name
        ]
        node_name = min(named)[1] if named else None
    if state.status.is_problem and failed is not None:
        if node_id is None:
            node_id, node_name = failed.node_id, failed.name
        if message is None:
            message = failed.error_message
    error_class = severity = title = digest = None
    if state.status.is_problem:
        error_class = classify(message or "")
        severity = severity_of(error_class)
        title = mask(message or "")
        digest = fingerprint(title)
    return Derived(
        duration_ms=_duration(state.duration_ms, state.started_at, state.completed_at),
        error_message=message,
        error_node_id=node_id,
        error_node_name=node_name or node_id,
        error_class=error_class,
        severity=severity,
        error_title=title,
        fingerprint=digest,
        node_count=len(state.nodes),
        node_done_count=sum(node.status is Status.SUCCESS for node in state.nodes.values()),
    )


def contribution(state: ExecutionState, derived: Derived) -> Contribution:
    """What a state adds to the counters of its bucket."""
    return Contribution(
        status=state.status,
        duration_ms=derived.duration_ms if state.status.is_finished else None,
        error_class=derived.error_class,
        nodes=tuple(
            (node.node_id, node.status, node.duration if node.status.is_finished else None)
            for node in state.nodes.values()
        ),
    )
