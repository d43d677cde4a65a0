"""From records that wait to lines of a batch: each line is an execution with some of its nodes.

The server merges lines of one execution whatever their order: `updatedAt` says which is newer.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from flowwatch_client.log import outbox
from flowwatch_client.log.log import read_execution, read_nodes
from flowwatch_client.log.outbox import Waiting
from flowwatch_client.rows import RUNNING, ExecutionRow, NodeRow

MOST_NODES = 500
"""Of one line."""
MOST_LINE_BYTES = 1024 * 1024
"""A line gets no further node when it is longer. One node alone may be longer (the server takes 5 MB)."""
MOST_BATCH_BYTES = 4 * 1024 * 1024

_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a batch, and the records that are sent when the server has taken it."""

    execution_id: str
    text: bytes
    seqs: tuple[int, ...]
    records: int
    """How many parts of the execution it tells: itself and nodes. A line of one can't be divided."""


@dataclasses.dataclass(frozen=True)
class Batch:
    """Some of what waits. `gone` are records whose rows somebody deleted from the file by hand."""

    lines: list[Line]
    gone: tuple[int, ...] = ()

    @property
    def seqs(self) -> list[int]:
        return [seq for line in self.lines for seq in line.seqs]


def take(
    connection: sqlite3.Connection,
    *,
    most_records: int,
    updated_at: str,
    after: int = 0,
    singly: Collection[str] = (),
) -> Batch:
    """The records that wait longest (of those numbered higher than `after`), as lines.

    Each record of the executions `singly` gets a line of its own: one of them was refused.
    """
    entries = outbox.waiting(connection, after=after, most=most_records)
    by_execution: dict[str, list[Waiting]] = {}
    for entry in entries:
        by_execution.setdefault(entry.execution_id, []).append(entry)
    lines: list[Line] = []
    gone: list[int] = []
    size = 0
    for execution_id, waiting in by_execution.items():
        execution = read_execution(connection, execution_id)
        if execution is None:
            gone += [entry.seq for entry in waiting]
            continue
        told = _Telling(connection, execution, waiting, updated_at, execution_id in singly)
        for line in told.lines():
            lines.append(line)
            size += len(line.text)
            if size >= MOST_BATCH_BYTES:
                return Batch(lines, tuple(gone))
        gone += told.gone
    return Batch(lines, tuple(gone))


class _Telling:
    """Puts one execution's waiting records into lines."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        execution: ExecutionRow,
        waiting: list[Waiting],
        updated_at: str,
        singly: bool,
    ) -> None:
        self._connection = connection
        self._execution = execution
        self._most_nodes = 1 if singly else MOST_NODES
        self._singly = singly
        self._own = [entry.seq for entry in waiting if entry.node_row is None]
        self._of_nodes: dict[int, list[int]] = {}
        for entry in waiting:
            if entry.node_row is not None:
                self._of_nodes.setdefault(entry.node_row, []).append(entry.seq)
        self._head = _head(execution, updated_at)
        self.gone: list[int] = []

    def lines(self) -> Iterator[Line]:
        begun = _LineBegun(self._execution.id, [*self._head])
        if self._own:
            begun = _LineBegun(self._execution.id, [*self._head, *_details(self._execution)])
            begun.tell(self._own)
            if self._singly and self._of_nodes:
                yield begun.finished()
                begun = _LineBegun(self._execution.id, [*self._head])
        for node_row, seqs in self._of_nodes.items():
            node = self._node(node_row)
            if node is None:
                self.gone += seqs
                continue
            text = _node_json(node)
            if begun.is_full(len(text), self._most_nodes):
                yield begun.finished()
                begun = _LineBegun(self._execution.id, [*self._head])
            begun.tell(seqs)
            begun.add_node(text)
        if begun.records:
            yield begun.finished()

    def _node(self, node_row: int) -> NodeRow | None:
        found = read_nodes(self._connection, "WHERE id = ?", (node_row,))
        return found[0] if found and found[0].execution_id == self._execution.id else None


class _LineBegun:
    """A line while its parts are put together; the parts are JSON already."""

    def __init__(self, execution_id: str, members: list[str]) -> None:
        self._execution_id = execution_id
        self._members = members
        self._size = sum(map(len, members))
        self._nodes: list[str] = []
        self._seqs: list[int] = []
        self.records = 0

    def tell(self, seqs: list[int]) -> None:
        self._seqs += seqs
        self.records += 1

    def add_node(self, text: str) -> None:
        self._nodes.append(text)
        self._size += len(text)

    def is_full(self, more: int, most_nodes: int) -> bool:
        """Whether a node of `more` characters must go into a further line."""
        return self.records > 0 and (
            len(self._nodes) >= most_nodes or self._size + more > MOST_LINE_BYTES
        )

    def finished(self) -> Line:
        nodes = f',"nodeExecutions":[{",".join(self._nodes)}]' if self._nodes else ""
        text = f"{{{','.join(self._members)}{nodes}}}"
        # Between the tokens of a JSON text a line break means nothing, but would end the line.
        line = text.replace("\n", " ").replace("\r", " ").encode()
        return Line(self._execution_id, line, tuple(self._seqs), self.records)


def _head(execution: ExecutionRow, updated_at: str) -> list[str]:
    """What every line tells: which execution it is, and how it stands."""
    return _members(
        {
            "id": execution.id,
            "workflowId": execution.workflow_id,
            "workflowName": execution.workflow_name,
            "status": execution.status,
            "startedAt": execution.started_at,
            "completedAt": execution.completed_at,
            "durationMs": execution.duration_ms,
            "updatedAt": updated_at,
        }
    )


def _details(execution: ExecutionRow) -> list[str]:
    """What only the execution's own record tells."""
    trigger = {"type": execution.trigger_type}
    parent = _present(
        {"executionId": execution.parent_execution_id, "nodeId": execution.parent_node_id}
    )
    error = _present(
        {
            "message": execution.error_message,
            "stack": execution.error_stack,
            "nodeId": execution.error_node_id,
        }
    )
    return [
        f'"trigger":{{{_members(trigger)[0]},"data":{execution.trigger_data}}}',
        *_members(
            {
                "error": error or None,
                "attempt": execution.attempt,
                "retryOf": execution.retry_of,
                "parent": parent or None,
                "version": execution.version,
                # A finished one sends no sign of life any more.
                "heartbeatSeconds": execution.heartbeat_seconds
                if execution.status == RUNNING
                else None,
            }
        ),
        *_values({"tags": execution.tags, "keys": execution.keys, "result": execution.result}),
        *_extra(execution.extra, _EXECUTION_NAMES),
    ]


def _node_json(node: NodeRow) -> str:
    error = _present({"message": node.error_message, "stack": node.error_stack})
    members = _members(
        {
            "nodeId": node.node_id,
            "nodeName": node.node_name,
            "nodeType": node.node_type,
            "status": node.status,
            "startedAt": node.started_at,
            "completedAt": node.completed_at,
            "durationMs": node.duration_ms,
            "error": error or None,
            "runIndex": node.run_index,
            "attempt": node.attempt,
        }
    )
    values = _values({"input": node.input, "output": node.output})
    return f"{{{','.join([*members, *values, *_extra(node.extra, _NODE_NAMES)])}}}"


_EXECUTION_NAMES = frozenset(
    (
        "id", "workflowId", "workflowName", "status", "startedAt", "completedAt", "durationMs",
        "updatedAt", "trigger", "error", "attempt", "retryOf", "parent", "version", "heartbeatSeconds",
        "tags", "keys", "result", "nodeExecutions", "environmentId",
    )
)  # fmt: skip
_NODE_NAMES = frozenset(
    (
        "nodeId", "nodeName", "nodeType", "status", "startedAt", "completedAt", "durationMs", "input",
        "output", "error", "runIndex", "attempt",
    )
)  # fmt: skip


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _members(fields: dict[str, Any]) -> list[str]:
    return [f'"{name}":{_encode(value)}' for name, value in _present(fields).items()]


def _values(fields: dict[str, str | None]) -> list[str]:
    """Members whose values are JSON texts."""
    return [f'"{name}":{text}' for name, text in _present(fields).items()]


def _extra(text: str | None, taken: Collection[str]) -> list[str]:
    """Members of a JSON object, but those that would say again what a column says."""
    if text is None:
        return []
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        return [f'"extra":{_encode(text)}']
    return [
        f"{_encode(name)}:{_encode(value)}" for name, value in fields.items() if name not in taken
    ]


class MessageClock:
    """`updatedAt` of messages: the wall clock's time, but never back, whatever is done to the clock.

    With a clock that was set back, what a running execution tells now would seem older than what it
    told before, and lose. `told` is the file's latest, for processes to come.
    """

    _FAR = timedelta(hours=12)  # the server refuses times more than a day ahead

    def __init__(self) -> None:
        self._last = datetime.min.replace(tzinfo=timezone.utc)

    def next(self, told: int) -> datetime:
        """A time later than all before; `told` in microseconds since 1970."""
        now = datetime.now(timezone.utc)
        last = max(self._last, _EPOCH + timedelta(microseconds=told))
        if now <= last < now + self._FAR:
            now = last + timedelta(microseconds=1)
        self._last = now
        return now


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
