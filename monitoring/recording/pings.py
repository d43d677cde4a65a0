"""Pings: one line in a cron job tells that a run starts, ended well or failed.

A run that is named (`rid`) is one execution with that id: the same ping again changes nothing, and so
does a start that comes after the end. Without a name, a start opens a run and an end ends the newest
open one that was started so in the last 72 hours, else makes a finished one. Names are for jobs that run
beside each other, so an end without one leaves named runs alone.

All pings of one workflow take turns, by the database's clock: two ends at once end two runs.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import uuid
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import psycopg
from django.db import transaction

from monitoring.database import cursor
from monitoring.ids import uuid_floor
from monitoring.recording import schema
from monitoring.recording.record import ExecutionRecord, Outcome, Result
from monitoring.recording.store import record_executions
from monitoring.words import Status

TRIGGER: Final = "ping"
LONGEST_UNNAMED: Final = dt.timedelta(hours=72)
"""A start without a name that is older was never ended: whoever runs longer gives names."""

_NO_REASON: Final = "The job told that it failed."
# No name that people give looks like this.
_UNNAMED: Final = "ping-"
_UNNAMED_PATTERN: Final = f"^{_UNNAMED}[0-9a-f]{{32}}$"


class Signal(enum.Enum):
    """What a ping tells of a run."""

    START = Status.RUNNING
    SUCCESS = Status.SUCCESS
    FAIL = Status.FAILED


@dataclass(frozen=True, slots=True)
class Ping:
    """One ping of a workflow, named by its external id; `run_id` "": the run has no name."""

    workflow_id: str
    signal: Signal
    run_id: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class _Run:
    """An execution that pings are about."""

    id: uuid.UUID
    external_id: str
    status: Status


def record_ping(ping: Ping, source: schema.Source) -> Result:
    """Store what a ping tells, durably. Raises InvalidMessage, and OperationalError without database."""
    environment_id = source.environment_id or source.default_environment_id
    place = (source.tenant_id, environment_id, ping.workflow_id)
    with transaction.atomic():
        now = _take_turn(place)
        known = _named(place, ping.run_id) if ping.run_id else None
        if known is not None and not _tells_more(ping.signal, known.status):
            return Result(Outcome.UNCHANGED, known.id, known.external_id)
        external_id = ping.run_id or _unnamed_id(ping.signal, place, now)
        [result] = record_executions([_record(ping, external_id, now, source)])
        return result


def _tells_more(signal: Signal, status: Status) -> bool:
    """Whether a named run changes: an end counts once, and nothing starts what has begun or ended."""
    return signal is not Signal.START and signal.value is not status


def _unnamed_id(signal: Signal, place: _Place, now: dt.datetime) -> str | None:
    if signal is Signal.START:
        return f"{_UNNAMED}{uuid.uuid4().hex}"
    return _newest_open(place, now)


# --- in the database ------------------------------------------------------------------------------

_Place = tuple[int, int, str]
"""(tenant, environment, workflow's external id)."""

# One after the other, so that each surely goes by its index, however large the history is.
_WORKFLOW: Final = """
    SELECT id FROM monitoring_workflow
    WHERE tenant_id = %s AND environment_id = %s AND external_id = %s
"""
_KEY: Final = """
    SELECT execution_id FROM monitoring_executionkey
    WHERE tenant_id = %s AND environment_id = %s AND workflow_id = %s AND external_id = %s
"""
_STATUS: Final = "SELECT status FROM monitoring_execution WHERE tenant_id = %s AND id = %s"
_NEWEST_OPEN: Final = f"""
    SELECT external_id FROM monitoring_execution
    WHERE tenant_id = %s AND workflow_id = %s AND status = {int(Status.RUNNING)} AND id >= %s
        AND trigger_type = %s AND external_id ~ %s
    ORDER BY id DESC LIMIT 1
"""  # noqa: S608


def _take_turn(place: _Place) -> dt.datetime:
    """Wait for the other pings of the workflow until this transaction ends; say what time it is then."""
    digest = hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
    with cursor() as db:
        db.execute(
            "SELECT pg_advisory_xact_lock(%s::bigint)", [int.from_bytes(digest, signed=True)]
        )
        db.execute("SELECT clock_timestamp()")
        row = db.fetchone()
    assert row is not None
    now: dt.datetime = row[0]
    return now


def _named(place: _Place, run_id: str) -> _Run | None:
    """The execution with the name that a run was given."""
    tenant_id, environment_id, _ = place
    with cursor() as db:
        workflow_id = _one(db, _WORKFLOW, place)
        execution_id = _one(db, _KEY, (tenant_id, environment_id, workflow_id, run_id))
        status = _one(db, _STATUS, (tenant_id, execution_id))
    return None if status is None else _Run(execution_id, run_id, Status(status))


def _newest_open(place: _Place, now: dt.datetime) -> str | None:
    """The sender's id of the newest run that a ping without a name opened."""
    since = uuid_floor(now - LONGEST_UNNAMED)
    with cursor() as db:
        workflow_id = _one(db, _WORKFLOW, place)
        values = (place[0], workflow_id, since, TRIGGER, _UNNAMED_PATTERN)
        found: str | None = _one(db, _NEWEST_OPEN, values)
    return found


def _one(db: psycopg.Cursor[Any], statement: str, values: tuple[Any, ...]) -> Any:
    """The only column of the first row, None where there is none; a null in `values` finds nothing."""
    db.execute(statement, values)
    row = db.fetchone()
    return None if row is None else row[0]


# --- as a message ---------------------------------------------------------------------------------


def _record(
    ping: Ping, external_id: str | None, now: dt.datetime, source: schema.Source
) -> ExecutionRecord:
    """A ping as a message about an execution; a body that is JSON as its value, else as text."""
    text = ping.body.decode(errors="replace").replace("\0", "\ufffd")
    try:
        value = schema.decode(ping.body)
        if type(value) in (dict, list):
            return _read(_message(ping, external_id, now, value, text), source)
    except (schema.NotJson, schema.InvalidMessage):
        pass  # nested too deep, say: then it is a text like any other
    return _read(_message(ping, external_id, now, text.strip() and text, text), source)


def _read(message: dict[str, Any], source: schema.Source) -> ExecutionRecord:
    return schema.full_execution(message, msgspec.json.encode(message), source)


def _message(
    ping: Ping, external_id: str | None, now: dt.datetime, body: Any, text: str
) -> dict[str, Any]:
    """What a job says at its start stays beside what it says at its end."""
    is_start = ping.signal is Signal.START
    message: dict[str, Any] = {
        "id": external_id,
        "workflowId": ping.workflow_id,
        "status": ping.signal.value.slug,
        "startedAt" if is_start else "completedAt": now.isoformat(),
        "trigger": {"type": TRIGGER, "data": (body or None) if is_start else None},
    }
    if body:
        message["body"] = body  # a field that no message knows: it is kept as the raw log
    if ping.signal is Signal.FAIL:
        message["error"] = {"message": _reason(body, text)}
    return message


def _reason(body: Any, text: str) -> str:
    """Why it failed: what JSON says of it, else the last line, where programs tell it."""
    if type(body) is dict:
        said = [body.get(name) for name in ("message", "error", "errorMessage")]
        return next((each for each in said if type(each) is str and each.strip()), _NO_REASON)
    if type(body) is list:
        return _NO_REASON
    return text.strip().rpartition("\n")[2].strip() or _NO_REASON
