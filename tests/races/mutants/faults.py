"""The faults; each replaces one function of the way in."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence

from django.db import connection

from monitoring.database import columns, cursor
from monitoring.recording import tables, writer
from monitoring.recording.record import ExecutionRecord, Outcome, Result
from monitoring.recording.store import record_executions

LATE_SECONDS = 0.5
# Long enough that the fault shows on a machine that does one thing at a time, too.
WINDOW_SECONDS = 0.05
# Each thread has a connection of its own, and other tests need some of the server's 200, too.
_places = threading.BoundedSemaphore(10)


def look_then_insert() -> None:
    """Senders' ids are looked up and then inserted, without ON CONFLICT: right, one at a time."""
    blind = tables._CLAIM_KEYS.replace("ON CONFLICT DO NOTHING", "")

    def claim(rows: Sequence[tables.KeyRow]) -> dict[tuple[int, str], uuid.UUID]:
        if not rows:
            return {}
        ordered = sorted(rows)
        owners: dict[tuple[int, str], uuid.UUID] = {}
        with cursor() as db:
            db.execute(tables._FIND_KEYS, columns([row[:4] for row in ordered]))
            owners.update({(workflow, external): owner for workflow, external, owner in db})
            missing = [row for row in ordered if (row[2], row[1]) not in owners]
            if missing:
                time.sleep(WINDOW_SECONDS)
                db.execute(blind, columns(missing))
                owners.update({(workflow, external): owner for workflow, external, owner in db})
        return owners

    tables.claim_external_ids = claim


def answer_before_commit() -> None:
    """Single posts are answered first and stored half a second later."""

    def record(execution: ExecutionRecord) -> Result:
        threading.Thread(target=_store_late, args=[execution], daemon=True).start()
        return Result(Outcome.CREATED, uuid.uuid4(), execution.external_id)

    writer.record = record


def _store_late(execution: ExecutionRecord) -> None:
    time.sleep(LATE_SECONDS)
    with _places:
        try:
            record_executions([execution])
        finally:
            connection.close()


MUTANTS: dict[str, Callable[[], None]] = {
    "look-then-insert": look_then_insert,
    "answer-before-commit": answer_before_commit,
}
