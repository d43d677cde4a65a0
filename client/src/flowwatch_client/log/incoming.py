"""Reads executions that programs hand over by themselves, in requirement 002's shape, into rows.

Fields come in camelCase or snake_case; those that the log has no column for are kept as `extra`. All that
is wrong is said at once, at its place.
"""

from __future__ import annotations

import datetime as dt
import functools
import secrets
import uuid
from collections.abc import Mapping
from typing import Any

from flowwatch_client import values
from flowwatch_client.log import times
from flowwatch_client.rows import (
    CANCELED,
    ERROR,
    RUNNING,
    SUCCESS,
    UNFINISHED,
    ExecutionRow,
    NodeRow,
)
from flowwatch_client.secret_rules import Scrubber

STATUSES = {
    **{each: each for each in (*UNFINISHED, SUCCESS, ERROR, "partial", CANCELED, "skipped")},
    "completed": SUCCESS,
    "failed": ERROR,
    "cancelled": CANCELED,
    RUNNING: RUNNING,
}
"""Each word for a status → the log's."""

_LONGEST_NAME = 255
_LONGEST_MS = 2**53
_EXECUTION_FIELDS = (
    "id", "workflow_id", "workflow_name", "status", "started_at", "completed_at", "duration_ms",
    "trigger", "node_executions", "error", "attempt", "retry_of", "parent", "version", "tags",
    "keys", "result", "heartbeat_seconds",
)  # fmt: skip
_NODE_FIELDS = (
    "node_id", "node_name", "node_type", "status", "started_at", "completed_at", "duration_ms",
    "input", "output", "error", "run_index", "attempt",
)  # fmt: skip


class BadExecution(ValueError):
    """An execution that can't be logged; `errors` names each field and what is wrong with it."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


@functools.lru_cache(maxsize=1)
def plain_scrubber() -> Scrubber:
    """The rules for secrets with nothing added; equal secrets get equal marks in this process."""
    return Scrubber(secrets.token_bytes(32))


def rows_of(message: object, scrubber: Scrubber) -> tuple[ExecutionRow, list[NodeRow]]:
    """The rows of one execution, without secrets. Raises BadExecution."""
    errors: list[str] = []
    if not isinstance(message, Mapping):
        raise BadExecution([f"an execution must be an object, not {type(message).__name__}"])
    fields = _Fields(message, _EXECUTION_FIELDS, scrubber, errors)
    trigger = fields.inner("trigger", ("type", "data"))
    error = fields.error()
    parent = fields.inner("parent", ("execution_id", "node_id"))
    workflow_id = fields.name("workflow_id", required=True) or ""
    started_at, completed_at, duration_ms = fields.span(required=True)
    row = ExecutionRow(
        id=fields.name("id") or str(uuid.uuid4()),
        workflow_id=workflow_id,
        workflow_name=fields.text("workflow_name") or workflow_id,
        status=fields.status(),
        started_at=started_at or times.now(),
        completed_at=completed_at,
        duration_ms=duration_ms,
        trigger_type=trigger.text("type") or "manual",
        trigger_data=trigger.json("data") or "null",
        error_message=error.text("message"),
        error_stack=error.text("stack"),
        error_node_id=error.name("node_id"),
        attempt=fields.integer("attempt"),
        retry_of=fields.name("retry_of"),
        parent_execution_id=parent.name("execution_id"),
        parent_node_id=parent.name("node_id"),
        version=fields.name("version"),
        tags=fields.json("tags", (list, tuple, set, frozenset), "a list"),
        keys=fields.json("keys", (Mapping,), "an object"),
        result=fields.json("result"),
        extra=fields.others(),
        heartbeat_seconds=fields.integer("heartbeat_seconds", 5, 3_600),
    )
    nodes = _nodes(fields, row.id)
    if errors:
        raise BadExecution(errors)
    return row, nodes


def _nodes(execution: _Fields, execution_id: str) -> list[NodeRow]:
    found = execution.values.get("node_executions", [])
    if not isinstance(found, (list, tuple)):
        execution.fail("node_executions", f"must be a list, not {type(found).__name__}")
        return []
    runs: dict[str, int] = {}
    nodes = []
    for at, each in enumerate(found):
        place = f"nodeExecutions[{at}]"
        if not isinstance(each, Mapping):
            execution.fail(place, f"must be an object, not {type(each).__name__}")
            continue
        node = _node(execution.within(each, _NODE_FIELDS, place), execution_id)
        if node.run_index is None:
            node.run_index = runs.get(node.node_id, 0)
        runs[node.node_id] = node.run_index + 1
        nodes.append(node)
    return nodes


def _node(fields: _Fields, execution_id: str) -> NodeRow:
    node_id = fields.name("node_id", required=True) or ""
    error = fields.error()
    started_at, completed_at, duration_ms = fields.span()
    return NodeRow(
        execution_id=execution_id,
        node_id=node_id,
        node_name=fields.text("node_name") or node_id,
        node_type=fields.text("node_type") or "node",
        status=fields.status(),
        started_at=started_at,
        completed_at=completed_at,
        duration_ms=duration_ms,
        input=fields.json("input"),
        output=fields.json("output"),
        error_message=error.text("message"),
        error_stack=error.text("stack"),
        run_index=fields.integer("run_index"),
        attempt=fields.integer("attempt"),
        extra=fields.others(),
    )


class _Fields:
    """The fields of one object; what is wrong with them is added to `errors`."""

    def __init__(
        self,
        message: Mapping[Any, Any],
        names: tuple[str, ...],
        scrubber: Scrubber,
        errors: list[str],
        place: str = "",
    ) -> None:
        spellings = {spelling: name for name in names for spelling in (name, camel(name))}
        self.values: dict[str, Any] = {}
        self._others: dict[Any, Any] = {}
        for key, value in message.items():
            name = spellings.get(key) if isinstance(key, str) else None
            if name is None:
                self._others[key] = value
            elif value is not None:
                self.values[name] = value
        self._scrubber = scrubber
        self._errors = errors
        self._place = place

    def within(self, message: Mapping[Any, Any], names: tuple[str, ...], place: str) -> _Fields:
        return _Fields(message, names, self._scrubber, self._errors, f"{self._place}{place}.")

    def inner(self, name: str, names: tuple[str, ...]) -> _Fields:
        """The fields of an object; absent counts as empty."""
        found = self.values.get(name, {})
        if not isinstance(found, Mapping):
            self.fail(name, f"must be an object, not {type(found).__name__}")
            found = {}
        return self.within(found, names, camel(name))

    def error(self) -> _Fields:
        """Of `error`, which may also be the message alone, or an exception."""
        found = self.values.get("error")
        if isinstance(found, (str, BaseException)):
            text = found if isinstance(found, str) else f"{type(found).__name__}: {found}"
            self.values["error"] = {"message": text}
        return self.inner("error", ("message", "stack", "node_id"))

    def fail(self, name: str, what: str) -> None:
        self._errors.append(f"{self._place}{camel(name)} {what}")

    def name(self, name: str, *, required: bool = False) -> str | None:
        """An id: never scrubbed, as marks are not unique."""
        found = self.values.get(name)
        if isinstance(found, (int, uuid.UUID)) and not isinstance(found, bool):
            found = str(found)
        if found is None or found == "":
            if required:
                self.fail(name, "is required")
            return None
        if not isinstance(found, str):
            self.fail(name, f"must be text, not {type(found).__name__}")
            return None
        if len(found) > _LONGEST_NAME:
            self.fail(name, f"has {len(found)} characters, at most {_LONGEST_NAME} are allowed")
        return _clean(found)

    def text(self, name: str) -> str | None:
        found = self.values.get(name)
        if found is None:
            return None
        if not isinstance(found, str):
            self.fail(name, f"must be text, not {type(found).__name__}")
            return None
        return self._scrubber.scrub_text(_clean(found[: values.MOST_CHARACTERS]))

    def status(self) -> str:
        found = self.values.get("status")
        status = STATUSES.get(found) if isinstance(found, str) else None
        if status is None:
            known = ", ".join(sorted(STATUSES))
            self.fail("status", "is required" if found is None else f"must be one of {known}")
        return status or ERROR

    def integer(self, name: str, least: int = 0, most: int = 2**31 - 1) -> int | None:
        found = self.values.get(name)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
            self.fail(name, f"must be a whole number from {least} to {most}")
            return None
        return found

    def span(self, *, required: bool = False) -> tuple[str | None, str | None, int | None]:
        """`started_at`, `completed_at` and `duration_ms`; what is not said follows from the others."""
        started_at, completed_at = self._time("started_at"), self._time("completed_at")
        duration_ms = self._duration()
        if duration_ms is None and started_at and completed_at:
            duration_ms = max((completed_at - started_at) // dt.timedelta(milliseconds=1), 0)
        if required and started_at is None and completed_at and duration_ms is not None:
            try:
                started_at = completed_at - dt.timedelta(milliseconds=duration_ms)
            except OverflowError:
                self.fail("duration_ms", "would begin before the year 1")
        return (
            started_at and times.stored(started_at),
            completed_at and times.stored(completed_at),
            duration_ms,
        )  # type: ignore[return-value]

    def _time(self, name: str) -> dt.datetime | None:
        found = self.values.get(name)
        moment = times.read_time(found) if isinstance(found, str) else found
        if isinstance(moment, dt.datetime):
            try:
                zone = moment.tzinfo or dt.timezone.utc
                return moment.replace(tzinfo=zone).astimezone(dt.timezone.utc)
            except OverflowError:  # before the year 1, or after 9999, in UTC
                moment = None
        if found is not None:
            self.fail(name, "must be a time of ISO 8601")
        return None

    def _duration(self) -> int | None:
        found = self.values.get("duration_ms")
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, (int, float)):
            self.fail("duration_ms", f"must be a number, not {type(found).__name__}")
        elif not 0 <= found < _LONGEST_MS:
            self.fail("duration_ms", "must be milliseconds from 0 on")
        else:
            return round(found)
        return None

    def json(self, name: str, kinds: tuple[type, ...] = (object,), called: str = "") -> str | None:
        """A value as JSON text; one of another kind than it has to be is an error."""
        found = self.values.get(name)
        if found is None:
            return None
        if not isinstance(found, kinds):
            self.fail(name, f"must be {called}, not {type(found).__name__}")
            return None
        return values.to_json(found, self._scrubber)

    def others(self) -> str | None:
        """The fields that have no column, as one JSON object."""
        return values.to_json(self._others, self._scrubber) if self._others else None


def camel(name: str) -> str:
    """`node_id` → `nodeId`."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _clean(text: str) -> str:
    return values.storable(text.replace("\0", "\ufffd"))
