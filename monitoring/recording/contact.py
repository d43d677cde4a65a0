"""Lost contact: a running execution that said `heartbeatSeconds` and then nothing for three times as long.

A mark on what is running, no status: whatever is heard of it later takes the mark away. All compares
with the database's clock. Whoever holds a sign of life and waits for an execution could wait in a
circle, so executions are locked first; only `mark_lost_step` doesn't, because it waits for nobody.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final

import psycopg
from django.conf import settings
from django.db import transaction

from monitoring.database import columns, cursor
from monitoring.recording.merge import ExecutionState
from monitoring.words import Status

STEP: Final = 500
SILENT_TIMES: Final = 3.0
"""A running execution is lost after this many times its `heartbeatSeconds` without a sign."""

Place = tuple[int, uuid.UUID]
"""(tenant, execution)."""

_PLACES: Final = "unnest(%(tenants)s::bigint[], %(ids)s::uuid[]) AS p (tenant_id, execution_id)"
_IS_AT_PLACE: Final = "s.tenant_id = p.tenant_id AND s.execution_id = p.execution_id"

# A due time that is not later than the new one stays: then no index changes.
_HEAR: Final = """
    INSERT INTO monitoring_signoflife AS s (tenant_id, execution_id, seconds, heard_at, due_at)
    SELECT tenant_id, execution_id, seconds, clock_timestamp(),
        clock_timestamp() + seconds * %s * interval '1 second'
    FROM unnest(%s::bigint[], %s::uuid[], %s::integer[]) AS n (tenant_id, execution_id, seconds)
    ON CONFLICT (tenant_id, execution_id) DO UPDATE SET
        seconds = EXCLUDED.seconds, heard_at = EXCLUDED.heard_at,
        due_at = least(s.due_at, EXCLUDED.due_at)
"""
_FORGET: Final = f"DELETE FROM monitoring_signoflife s USING {_PLACES} WHERE {_IS_AT_PLACE}"  # noqa: S608
_UNMARK: Final = f"""
    UPDATE monitoring_execution e SET lost_contact_at = NULL FROM {_PLACES}
    WHERE e.tenant_id = p.tenant_id AND e.id = p.execution_id AND e.id BETWEEN %(first)s AND %(last)s
"""  # noqa: S608


def note_messages(states: Iterable[ExecutionState]) -> None:
    """Take messages about executions as signs of life; call it where they are locked and written."""
    followed = [s for s in states if s.heartbeat_seconds is not None]
    if not followed:
        return
    followed.sort(key=lambda state: (state.tenant_id, state.id))
    running = [s for s in followed if s.status is Status.RUNNING]
    others = [s for s in followed if s.status is not Status.RUNNING and not s.is_new]
    marked = [s for s in followed if s.lost_contact_at is not None]
    with cursor() as db:
        if running:
            rows = [(s.tenant_id, s.id, s.heartbeat_seconds) for s in running]
            db.execute(_HEAR, [_silence(), *columns(rows)])
        if others:
            db.execute(_FORGET, _at(_place_of(s) for s in others))
        if marked:
            db.execute(_UNMARK, _at(_place_of(s) for s in marked))


def note_heartbeat(tenant_id: int, execution_id: uuid.UUID) -> None:
    """Take a heartbeat as a sign of life; nothing happens where none is expected."""
    values = {"tenant": tenant_id, "id": execution_id, "silence": _silence()}
    with cursor() as db:
        db.execute(_HEAR_ONE, values)
        if db.rowcount:
            return
        db.execute(_IS_FOLLOWED, values)
        if db.fetchone() is None:
            return
    with transaction.atomic(), cursor() as db:
        db.execute(_LOCK_ONE, values)
        db.execute(_HEAR_LOST_ONE, values)
        if db.rowcount:
            db.execute(_UNMARK, _at([(tenant_id, execution_id)]))


_HEAR_ONE: Final = """
    UPDATE monitoring_signoflife SET heard_at = clock_timestamp()
    WHERE tenant_id = %(tenant)s AND execution_id = %(id)s AND due_at IS NOT NULL
"""
_IS_FOLLOWED: Final = """
    SELECT 1 FROM monitoring_signoflife WHERE tenant_id = %(tenant)s AND execution_id = %(id)s
"""
_LOCK_ONE: Final = """
    SELECT 1 FROM monitoring_execution WHERE tenant_id = %(tenant)s AND id = %(id)s FOR UPDATE
"""
_HEAR_LOST_ONE: Final = """
    UPDATE monitoring_signoflife SET heard_at = clock_timestamp(),
        due_at = clock_timestamp() + seconds * %(silence)s * interval '1 second'
    WHERE tenant_id = %(tenant)s AND execution_id = %(id)s
"""


def forget(tenant_id: int, ids: Sequence[uuid.UUID]) -> None:
    """Follow these executions no longer: they are being deleted."""
    with cursor() as db:
        db.execute(_FORGET, _at((tenant_id, one) for one in ids))


def mark_lost_step() -> bool:
    """Look at what is due of all tenants: mark what fell silent, put off the rest; was there more?"""
    with transaction.atomic(), cursor() as db:
        db.execute(_DUE, {"silence": _silence(), "most": STEP})
        due = db.fetchall()
        heard = [(tenant_id, one) for tenant_id, one, is_silent in due if not is_silent]
        silent = [(tenant_id, one) for tenant_id, one, is_silent in due if is_silent]
        if heard:
            db.execute(_PUT_OFF, {"silence": _silence(), **_at(heard)})
        if silent:
            _mark(db, silent)
    return len(due) == STEP


_DUE: Final = """
    SELECT tenant_id, execution_id,
        heard_at + seconds * %(silence)s * interval '1 second' <= clock_timestamp()
    FROM monitoring_signoflife WHERE due_at <= clock_timestamp()
    ORDER BY due_at LIMIT %(most)s FOR UPDATE SKIP LOCKED
"""
_PUT_OFF: Final = f"""
    UPDATE monitoring_signoflife s SET due_at = s.heard_at + s.seconds * %(silence)s * interval '1 second'
    FROM {_PLACES} WHERE {_IS_AT_PLACE}
"""  # noqa: S608


def _mark(db: psycopg.Cursor[Any], silent: Sequence[Place]) -> None:
    """Mark those of whom no message is being stored; they are looked at again in a second.

    What was deleted with its partition, or is not running, is followed no longer.
    """
    places = _at(silent) | {"running": int(Status.RUNNING)}
    db.execute(_FORGET_GONE, places)
    db.execute(_LOCK_RUNNING, places)
    if locked := db.fetchall():
        places = _at(locked)
        db.execute(_MARK, places)
        db.execute(_REST, places)


# The bounds let the planner leave out partitions.
_OF_PLACE: Final = """
    e.tenant_id = p.tenant_id AND e.id = p.execution_id AND e.status = %(running)s
    AND e.id BETWEEN %(first)s AND %(last)s
"""
_FORGET_GONE: Final = f"""
    DELETE FROM monitoring_signoflife s USING {_PLACES} WHERE {_IS_AT_PLACE}
    AND NOT EXISTS (SELECT FROM monitoring_execution e WHERE {_OF_PLACE})
"""  # noqa: S608
_LOCK_RUNNING: Final = f"""
    SELECT e.tenant_id, e.id FROM monitoring_execution e JOIN {_PLACES} ON {_OF_PLACE}
    FOR UPDATE OF e SKIP LOCKED
"""  # noqa: S608
_MARK: Final = f"""
    UPDATE monitoring_execution e SET lost_contact_at = s.heard_at
    FROM {_PLACES} JOIN monitoring_signoflife s ON {_IS_AT_PLACE}
    WHERE e.tenant_id = p.tenant_id AND e.id = p.execution_id AND e.id BETWEEN %(first)s AND %(last)s
"""  # noqa: S608
_REST: Final = f"""
    UPDATE monitoring_signoflife s SET due_at = NULL FROM {_PLACES} WHERE {_IS_AT_PLACE}
"""  # noqa: S608


def _silence() -> float:
    return settings.PACE.seconds(SILENT_TIMES)


def _place_of(state: ExecutionState) -> Place:
    return state.tenant_id, state.id


def _at(places: Iterable[Place]) -> dict[str, Any]:
    """The parameters of `_PLACES`."""
    tenants, ids = columns([*places])
    return {"tenants": tenants, "ids": ids, "first": min(ids), "last": max(ids)}
