"""What senders may send: from JSON to the canonical record, with every error said at its place.

Two shapes (API.md, ingest): a full execution with nodes, and a short log of one finished run.
Fields come in camelCase or snake_case. Errors are collected, so that a sender sees all of them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from django.conf import settings

from monitoring.recording import order, scrub
from monitoring.recording.record import (
    EXECUTION_FIELDS,
    NODE_FIELDS,
    ExecutionRecord,
    NodeRecord,
)
from monitoring.words import Status, status_from_word

EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
AHEAD = dt.timedelta(days=1)
LONGEST_DURATION_MS = 100 * 366 * 86_400_000
_INT32_MAX = 2**31 - 1
_MAX_ERRORS = 20
_MAX_TAGS = 50


@dataclasses.dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with a message: where (`nodeExecutions.3.status`) and what."""

    loc: str
    msg: str


class InvalidMessage(ValueError):
    """A message that is JSON but breaks the schema (422)."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(f"{error.loc}: {error.msg}" for error in errors))
        self.errors = errors


class NotJson(ValueError):
    """A body that is not JSON in UTF-8 (400)."""


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


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u0000|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)",
    re.DOTALL,
)
_SUSPECT_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def _repair_escape(match: re.Match[bytes]) -> bytes:
    escape = match.group()
    lone = len(escape) == 6 and escape[2:4].lower() in (
        b"d8",
        b"d9",
        b"da",
        b"db",
        b"dc",
        b"dd",
        b"de",
        b"df",
    )
    return b"\\ufffd" if lone or escape == b"\\u0000" else escape


def decode(body: bytes) -> Any:
    """The JSON value of a body; NUL and lone surrogates become U+FFFD.

    Raises NotJson; InvalidMessage when it is nested too deep or holds a number out of range.
    """
    if _SUSPECT_ESCAPE.search(body):
        body = _ESCAPE.sub(_repair_escape, body)
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise InvalidMessage([_too_deep("")]) from None
    except msgspec.ValidationError as error:
        raise InvalidMessage([FieldError("", str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJson(f"The body is not JSON in UTF-8: {error}") from None


def _too_deep(loc: str) -> FieldError:
    return FieldError(loc, f"nested deeper than {settings.LIMITS.depth} levels")


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


_EXECUTION_NAMES = (
    "id", "workflow_id", "workflow_name", "environment_id", "status", "started_at", "completed_at",
    "updated_at", "duration_ms", "trigger", "node_executions", "error", "attempt", "retry_of",
    "parent", "version", "tags", "keys", "heartbeat_seconds", "result",
)  # fmt: skip
_NODE_NAMES = (
    "node_id", "node_name", "node_type", "status", "started_at", "completed_at", "duration_ms",
    "input", "output", "error", "run_index", "attempt",
)  # fmt: skip
_SHORT_NAMES = (
    "id", "workflow_id", "workflow_name", "environment_id", "status", "failed_action_id",
    "failed_action_name", "error_message", "execution_time_ms", "executed_at",
)  # fmt: skip


def _spellings(names: tuple[str, ...]) -> dict[str, str]:
    return {spelling: name for name in names for spelling in (name, camel(name))}


_EXECUTION_SPELLINGS = _spellings(_EXECUTION_NAMES)
_NODE_SPELLINGS = _spellings(_NODE_NAMES)
_SHORT_SPELLINGS = _spellings(_SHORT_NAMES)


@dataclasses.dataclass(frozen=True, slots=True)
class _Suspicion:
    """What one look at a whole body can't rule out; most bodies spare their values a walk."""

    values: bool
    anything: bool

    @classmethod
    def of(cls, body: bytes) -> _Suspicion:
        found = scrub.suspect(body)
        may_be_deep = body.count(b"[") + body.count(b"{") > settings.LIMITS.depth
        return cls(values=found.values, anything=found.values or found.keys or may_be_deep)


class _Reader:
    """Reads the fields of one JSON object and collects what is wrong with them."""

    __slots__ = (
        "errors",
        "latest",
        "limits",
        "loc",
        "suspicion",
        "truncated",
        "unknown",
        "values",
    )

    def __init__(
        self,
        message: Mapping[str, Any],
        spellings: Mapping[str, str],
        *,
        errors: list[FieldError],
        latest: dt.datetime,
        suspicion: _Suspicion,
        loc: str = "",
    ) -> None:
        self.values: dict[str, Any] = {
            spellings[key]: value
            for key, value in message.items()
            if value is not None and key in spellings
        }
        self.unknown: dict[str, Any] = (
            {}
            if message.keys() <= spellings.keys()
            else {key: value for key, value in message.items() if key not in spellings}
        )
        self.limits = settings.LIMITS
        self.errors = errors
        self.latest = latest
        self.suspicion = suspicion
        self.loc = loc
        self.truncated: set[str] = set()

    def fail(self, name: str, msg: str) -> None:
        if len(self.errors) < _MAX_ERRORS:
            self.errors.append(FieldError(f"{self.loc}{camel(name)}", msg))

    def text(self, name: str) -> str | None:
        """A name of at most `limits.text` characters, scrubbed."""
        text = self._short_text(name)
        return scrub.scrub_text(text) if text is not None and self.suspicion.values else text

    def identity(self, name: str, *, required: bool = False) -> str | None:
        """An id: text or whole number, exactly as sent.

        Never scrubbed: marks are not unique, so two things would become one, and neither could be
        found by its id again.
        """
        return self._short_text(name, required=required, number_allowed=True)

    def _short_text(
        self, name: str, *, required: bool = False, number_allowed: bool = False
    ) -> str | None:
        value = self.values.get(name)
        if type(value) is int and number_allowed:
            value = str(value)
        if value is None or value == "":
            if required:
                self.fail(name, "is required")
            return None
        if type(value) is not str:
            self.fail(name, f"must be text, not {_type_name(value)}")
            return None
        if len(value) > self.limits.text:
            self.fail(
                name,
                f"has {len(value)} characters, at most {self.limits.text} are allowed",
            )
            return None
        text: str = value
        return text

    def status(self, allowed: frozenset[Status] | None = None) -> Status:
        """The canonical status; SKIPPED stands in after an error, which refuses the message anyway."""
        value = self.values.get("status")
        if value is None:
            self.fail("status", "is required")
            return Status.SKIPPED
        status = status_from_word(value) if type(value) is str else None
        if status is None or (allowed is not None and status not in allowed):
            words = ", ".join(s.slug for s in sorted(allowed or Status))
            self.fail("status", f"must be one of {words} (or a provider's word for it)")
            return Status.SKIPPED
        return status

    def integer(self, name: str, low: int, high: int) -> int | None:
        value = self.values.get(name)
        if value is None:
            return None
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            self.fail(name, f"must be a whole number, not {_type_name(value)}")
            return None
        if not low <= value <= high:
            self.fail(name, f"must be between {low} and {high}")
            return None
        return value

    def duration(self, name: str) -> int | None:
        """Milliseconds, rounded to whole ones."""
        value = self.values.get(name)
        if type(value) is float:
            self.values[name] = round(value)
        return self.integer(name, 0, LONGEST_DURATION_MS)

    def time(self, name: str) -> dt.datetime | None:
        """ISO 8601; without an offset it is UTC."""
        value = self.values.get(name)
        if value is None:
            return None
        if type(value) is not str:
            self.fail(name, f"must be a time as text (ISO 8601), not {_type_name(value)}")
            return None
        try:
            moment = dt.datetime.fromisoformat(value)
            moment = (
                moment.replace(tzinfo=dt.UTC)
                if moment.tzinfo is None
                else moment.astimezone(dt.UTC)
            )
        except (ValueError, OverflowError):
            self.fail(name, "is not a time in ISO 8601, like 2026-02-14T10:30:00Z")
            return None
        if not EARLIEST <= moment <= self.latest:
            self.fail(name, "must lie between 2000-01-01 and one day ahead of now")
            return None
        return moment

    def long_text(self, name: str, value: Any, limit: int) -> str | None:
        """An error's text: scrubbed, cut to `limit` bytes with a visible mark."""
        if value is None:
            return None
        text: str = value if type(value) is str else msgspec.json.encode(value).decode()
        if self.suspicion.values:
            text = scrub.scrub_text(text)
        encoded = text.encode()
        if len(encoded) <= limit:
            return text
        self.truncated.add(name)
        return (
            f"{encoded[:limit].decode(errors='ignore')}… [cut: {len(encoded) - limit:,} more bytes]"
        )

    def payload(self, name: str, value: Any) -> bytes | None:
        """JSON text of any value: scrubbed, replaced by a mark with its beginning when too big."""
        if value is None:
            return None
        if self.suspicion.anything:
            try:
                value = scrub.scrub(
                    value, depth=self.limits.depth, look_at_values=self.suspicion.values
                )
            except scrub.TooDeep:
                self.errors.append(_too_deep(f"{self.loc}{camel(name)}"))
                return None
        text = msgspec.json.encode(value)
        limit = self.limits.node_data_bytes
        if len(text) <= limit:
            return text
        self.truncated.add(name)
        kept = text[:limit].decode(errors="ignore")
        return msgspec.json.encode(
            {
                "__truncated__": {
                    "bytes": len(text),
                    "kept": len(kept.encode()),
                    "text": kept,
                }
            }
        )

    def object(self, name: str) -> dict[str, Any]:
        """A JSON object; absent counts as empty."""
        value = self.values.get(name)
        if value is None:
            return {}
        if type(value) is not dict:
            self.fail(name, f"must be an object, not {_type_name(value)}")
            return {}
        return value

    def bitmap(self, fields: tuple[str, ...]) -> int:
        bits = 0
        for name in self.truncated:
            bits |= 1 << fields.index(name)
        return bits


def _type_name(value: Any) -> str:
    return {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }.get(type(value), "null")


def _object(message: Any) -> dict[str, Any]:
    if type(message) is not dict:
        raise InvalidMessage([FieldError("", f"must be an object, not {_type_name(message)}")])
    return message


def _environment(reader: _Reader, source: Source) -> int:
    """DESIGN: the token's environment, else the message's, else the tenant's default one."""
    wanted = reader.integer("environment_id", 1, 2**63 - 1)
    if source.environment_id is not None:
        return source.environment_id
    if wanted is None:
        return source.default_environment_id
    if wanted not in source.known_environments:
        reader.fail("environment_id", "names no environment of this tenant")
    return wanted


def full_execution(message: Any, body: bytes, source: Source) -> ExecutionRecord:
    """The record of a full execution (requirement 002).

    `body` is the text of `message`: its hash orders equal messages. Raises InvalidMessage.
    """
    errors: list[FieldError] = []
    reader = _Reader(
        _object(message),
        _EXECUTION_SPELLINGS,
        errors=errors,
        latest=source.received_at + AHEAD,
        suspicion=_Suspicion.of(body),
    )
    status = reader.status()
    started_at, completed_at, updated_at = map(
        reader.time, ("started_at", "completed_at", "updated_at")
    )
    trigger = reader.object("trigger")
    parent = reader.object("parent")
    error_message, error_stack, error_node_id, error_details = _error(reader)
    record = ExecutionRecord(
        tenant_id=source.tenant_id,
        environment_id=_environment(reader, source),
        workflow_external_id=reader.identity("workflow_id", required=True) or "",
        workflow_name=reader.text("workflow_name"),
        external_id=reader.identity("id"),
        status=status,
        order_key=order.order_key(
            status, (completed_at, updated_at, started_at), order.body_hash(body)
        ),
        received_at=source.received_at,
        started_at=started_at,
        completed_at=completed_at,
        updated_at=updated_at,
        duration_ms=reader.duration("duration_ms"),
        trigger_type=_inner_text(reader, "trigger", trigger, "type"),
        trigger_data=reader.payload("trigger_data", trigger.get("data")),
        attempt=reader.integer("attempt", 0, _INT32_MAX),
        retry_of=reader.identity("retry_of"),
        parent_execution_id=_inner_text(reader, "parent", parent, "execution_id"),
        parent_node_id=_inner_text(reader, "parent", parent, "node_id"),
        version=reader.identity("version"),
        tags=_tags(reader),
        keys=_keys(reader),
        error_message=error_message,
        error_stack=error_stack,
        error_node_id=error_node_id,
        error_details=error_details,
        heartbeat_seconds=reader.integer("heartbeat_seconds", 5, 3_600),
        raw_log=reader.payload("raw_log", reader.unknown or None),
        result=reader.payload("result", reader.values.get("result")),
        nodes=_nodes(reader),
    )
    record.truncated = reader.bitmap(EXECUTION_FIELDS)
    return _checked(record, errors)


def short_log(
    message: Any, body: bytes, source: Source, *, workflow_id: str | None = None
) -> ExecutionRecord:
    """The record of a short log (requirements 000 and 001); `workflow_id` from the path wins.

    The failed action becomes one failed node execution; unknown fields are kept as the raw log.
    Raises InvalidMessage.
    """
    errors: list[FieldError] = []
    reader = _Reader(
        _object(message),
        _SHORT_SPELLINGS,
        errors=errors,
        latest=source.received_at + AHEAD,
        suspicion=_Suspicion.of(body),
    )
    status = reader.status(_SHORT_STATUSES)
    started_at = reader.time("executed_at")
    error_message = reader.long_text(
        "error_message",
        reader.values.get("error_message"),
        settings.LIMITS.error_message_bytes,
    )
    if workflow_id is not None:
        reader.values["workflow_id"] = workflow_id
    action_id = reader.identity("failed_action_id")
    action_name = reader.text("failed_action_name")
    record = ExecutionRecord(
        tenant_id=source.tenant_id,
        environment_id=_environment(reader, source),
        workflow_external_id=reader.identity("workflow_id", required=True) or "",
        workflow_name=reader.text("workflow_name"),
        external_id=reader.identity("id"),
        status=status,
        order_key=order.order_key(status, (started_at,), order.body_hash(body)),
        received_at=source.received_at,
        started_at=started_at,
        duration_ms=reader.duration("execution_time_ms"),
        error_message=error_message,
        error_node_id=action_id or action_name,
        raw_log=reader.payload("raw_log", reader.unknown or None),
        nodes=_failed_action(action_id, action_name, error_message),
    )
    record.truncated = reader.bitmap(EXECUTION_FIELDS)
    return _checked(record, errors)


_SHORT_STATUSES = frozenset({Status.SUCCESS, Status.FAILED, Status.PARTIAL})


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


_SHORT_ONLY = frozenset(
    spelling for spelling, name in _SHORT_SPELLINGS.items() if name not in _EXECUTION_NAMES
)
_FULL_ONLY = frozenset(
    spelling
    for spelling, name in _EXECUTION_SPELLINGS.items()
    if name not in _SHORT_NAMES and name not in ("result", "version", "tags", "keys", "attempt")
)


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


def _checked(record: ExecutionRecord, errors: list[FieldError]) -> ExecutionRecord:
    if record.started_at is None and record.duration_ms is not None:
        start = record.received_at - dt.timedelta(milliseconds=record.duration_ms)
        if start < EARLIEST:
            errors.append(FieldError("durationMs", "puts the start before 2000-01-01"))
    if errors:
        raise InvalidMessage(errors)
    return record


def _inner_text(reader: _Reader, outer: str, value: dict[str, Any], name: str) -> str | None:
    """A text field of an inner object, in either spelling."""
    if not value or (name not in value and camel(name) not in value):
        return None
    inner = _Reader(
        {name: value.get(name, value.get(camel(name)))},
        {name: name},
        errors=reader.errors,
        latest=reader.latest,
        suspicion=reader.suspicion,
        loc=f"{reader.loc}{camel(outer)}.",
    )
    return inner.text(name) if name == "type" else inner.identity(name)


_ERROR_KNOWN = frozenset({"message", "stack", "nodeId", "node_id"})


def _error(reader: _Reader) -> tuple[str | None, str | None, str | None, bytes | None]:
    """Message, stack, node id and other fields of `error`, which may be an object or just text."""
    value = reader.values.get("error")
    if type(value) is str:
        value = {"message": value}
        reader.values["error"] = value
    error = reader.object("error")
    if not error:
        return None, None, None, None
    limits = settings.LIMITS
    message = error.get("message")
    return (
        reader.long_text("error_message", message, limits.error_message_bytes),
        reader.long_text("error_stack", error.get("stack"), limits.stack_bytes),
        _inner_text(reader, "error", error, "node_id"),
        reader.payload(
            "error_details",
            {k: v for k, v in error.items() if k not in _ERROR_KNOWN} or None,
        ),
    )


def _tags(reader: _Reader) -> list[str] | None:
    value = reader.values.get("tags")
    if value is None:
        return None
    if type(value) is not list or len(value) > _MAX_TAGS or not all(map(_is_short_text, value)):
        reader.fail(
            "tags",
            f"must be a list of at most {_MAX_TAGS} texts of at most {settings.LIMITS.text} characters",
        )
        return None
    return [scrub.scrub_text(tag) for tag in value]


def _keys(reader: _Reader) -> dict[str, str] | None:
    value = reader.values.get("keys")
    if value is None:
        return None
    if (
        type(value) is not dict
        or len(value) > _MAX_TAGS
        or not all(_is_short_text(key) and _is_short_text(text) for key, text in value.items())
    ):
        reader.fail(
            "keys",
            f"must be an object of at most {_MAX_TAGS} texts of at most {settings.LIMITS.text} characters",
        )
        return None
    clean: dict[str, str] = scrub.scrub(value, depth=1)
    return clean


def _is_short_text(value: Any) -> bool:
    return type(value) is str and len(value) <= settings.LIMITS.text


def _nodes(reader: _Reader) -> list[NodeRecord]:
    value = reader.values.get("node_executions")
    if value is None:
        return []
    if type(value) is not list:
        reader.fail("node_executions", f"must be a list, not {_type_name(value)}")
        return []
    if len(value) > settings.LIMITS.nodes:
        reader.fail(
            "node_executions",
            f"has {len(value)} nodes, at most {settings.LIMITS.nodes} are allowed",
        )
        return []
    occurrences: dict[str, int] = {}
    nodes: dict[tuple[str, int], NodeRecord] = {}
    for position, item in enumerate(value):
        node = _node(reader, item, position, occurrences)
        if node is not None and nodes.setdefault((node.node_id, node.run_index), node) is not node:
            reader.fail(
                "node_executions",
                f"names run {node.run_index} of node {node.node_id!r} twice",
            )
    return list(nodes.values())


def _node(
    outer: _Reader, item: Any, position: int, occurrences: dict[str, int]
) -> NodeRecord | None:
    loc = f"{outer.loc}nodeExecutions.{position}."
    if type(item) is not dict:
        outer.fail(f"node_executions.{position}", f"must be an object, not {_type_name(item)}")
        return None
    reader = _Reader(
        item,
        _NODE_SPELLINGS,
        errors=outer.errors,
        latest=outer.latest,
        suspicion=outer.suspicion,
        loc=loc,
    )
    node_id = reader.identity("node_id", required=True)
    if node_id is None:
        return None
    occurrence = occurrences.get(node_id, 0)
    occurrences[node_id] = occurrence + 1
    run_index = reader.integer("run_index", 0, _INT32_MAX)
    error_message, error_stack, _, error_details = _error(reader)
    values = reader.values
    node = NodeRecord(
        node_id=node_id,
        run_index=occurrence if run_index is None else run_index,
        status=reader.status(),
        position=position,
        name=reader.text("node_name"),
        type=reader.text("node_type"),
        started_at=reader.time("started_at"),
        completed_at=reader.time("completed_at"),
        duration_ms=reader.duration("duration_ms"),
        attempt=reader.integer("attempt", 0, _INT32_MAX),
        input=reader.payload("input", values.get("input")),
        output=reader.payload("output", values.get("output")),
        error_message=error_message,
        error_stack=error_stack,
        error_details=error_details,
        extra=reader.payload("extra", reader.unknown or None),
        input_items=_item_count(values.get("input")),
        output_items=_item_count(values.get("output")),
    )
    if reader.truncated:
        node.truncated = reader.bitmap(NODE_FIELDS)
    return node


def _item_count(value: Any) -> int | None:
    """Items of a node's data: a list's length; any other value is one item."""
    if value is None:
        return None
    return len(value) if type(value) is list else 1
