"""The one way in: stores a chunk of records atomically. Nothing else writes executions.

A chunk is at most 1,000 records, of any tenants. In one transaction it makes workflows seen for the
first time, claims the senders' ids, merges messages into executions and nodes, appends the counters'
changes, new error groups and outbox events. All chunks lock rows in one order (workflows, then keys by
id, then executions by id), so that they wait for each other and never deadlock. Deletion locks executions
first; a chunk that it cuts off begins again.
"""

from __future__ import annotations

import collections
import datetime as dt
import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import prometheus_client
import psycopg
from django.db import (
    DatabaseError,
    Error,
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)

from monitoring.counting.buckets import bucket_of
from monitoring.horizon import DAY, horizon_of
from monitoring.ids import time_of
from monitoring.recording import contact, old_weeks, tables
from monitoring.recording.deltas import Delta
from monitoring.recording.merge import (
    Derived,
    ExecutionState,
    contribution,
    derive,
    first_id,
    merge,
    new_state,
)
from monitoring.recording.payload import ExecutionTooLarge
from monitoring.recording.record import ExecutionRecord, Outcome, Result
from monitoring.recording.workflows import Workflows

logger = logging.getLogger(__name__)

CHUNK = 1_000
WEEK_GOES = "Old executions of its week are being removed: repeat later."
KEY_REUSED = "This Idempotency-Key was used with another body."
_ATTEMPTS = 3
_recorded = prometheus_client.Counter(
    "flowwatch_executions", "Messages about executions, by what became of them.", ["outcome"]
)


def record_executions(records: Sequence[ExecutionRecord]) -> list[Result]:
    """Store records in chunks; return what became of each, in order.

    Each chunk of at most 1,000 is one transaction: when this returns, everything that is not
    rejected or failed is durable. A record that can't be stored is rejected or failed alone (the chunk
    is bisected). Raises OperationalError or InterfaceError when the database can't be reached.
    """
    results: list[Result] = []
    for start in range(0, len(records), CHUNK):
        results += _store_or_bisect(records[start : start + CHUNK])
    for outcome, number in collections.Counter(result.outcome for result in results).items():
        _recorded.labels(outcome.value).inc(number)
    return results


def _store_or_bisect(records: Sequence[ExecutionRecord]) -> list[Result]:
    try:
        return _store_again_after_conflict(records)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # whatever one record does, it may harm no other
        if len(records) > 1:
            middle = len(records) // 2
            return _store_or_bisect(records[:middle]) + _store_or_bisect(records[middle:])
        return [_refusal(records[0], error)]


def _refusal(record: ExecutionRecord, error: Exception) -> Result:
    """Rejected for good when record or database say so, failed when the fault may be ours."""
    known = isinstance(error, ExecutionTooLarge | Error)
    outcome = Outcome.REJECTED if known else Outcome.FAILED
    logger.log(
        logging.WARNING if known else logging.ERROR,
        "A record of tenant %s was %s",
        record.tenant_id,
        outcome.value,
        exc_info=error,
    )
    return Result(outcome, external_id=record.external_id, reason=_reason(error))


def _reason(error: Exception) -> str:
    """The database's own short words, without the values in its DETAIL."""
    if isinstance(error, ExecutionTooLarge):
        return str(error)
    if isinstance(error, tables.Vanished):
        return "The execution is being deleted: repeat later."
    cause = error.__cause__ if isinstance(error.__cause__, psycopg.Error) else None
    return (cause.diag.message_primary if cause else None) or "This record could not be stored."


def _store_again_after_conflict(records: Sequence[ExecutionRecord]) -> list[Result]:
    """Repeat what another transaction's deletion, a deadlock or a missing partition cut off."""
    gone: Collection[tuple[int, uuid.UUID]] = ()
    keys: list[tables.KeyRow] = []
    for attempt in range(_ATTEMPTS):
        workflows = Workflows()
        chunk = _Chunk(records, workflows)
        try:
            with transaction.atomic():
                if gone:
                    tables.forget_gone(gone, keys)
                results = chunk.store()
            if not connection.in_atomic_block:
                workflows.remember()
            return results
        except NotKeptError as error:
            return _store_without(error.answers, records)
        except tables.Vanished as error:
            if attempt == _ATTEMPTS - 1:
                raise
            gone, keys = error.gone, chunk.keys_of({one for _, one in error.gone})
        except DatabaseError as error:
            if attempt == _ATTEMPTS - 1 or not _may_pass_next_time(error):
                raise
    raise AssertionError("the loop returns or raises")


class NotKeptError(Exception):
    """Some records of a chunk are about unknown executions that their tenant would not keep.

    `answers`: place in the chunk → what its sender is told. Nothing of the chunk is stored.
    """

    def __init__(self, answers: Mapping[int, Result]) -> None:
        self.answers = answers


def _store_without(
    answers: Mapping[int, Result], records: Sequence[ExecutionRecord]
) -> list[Result]:
    """Store the records that are not answered yet; of the others nothing is left, no workflow."""
    rest = [record for index, record in enumerate(records) if index not in answers]
    stored = iter(_store_again_after_conflict(rest) if rest else ())
    return [answers[index] if index in answers else next(stored) for index in range(len(records))]


def _may_pass_next_time(error: DatabaseError) -> bool:
    cause = error.__cause__
    if isinstance(cause, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure):
        return True
    if isinstance(cause, psycopg.errors.CheckViolation) and "no partition" in str(cause):
        tables.ensure_partitions()
        return True
    return False


class Entry:
    """All records of one chunk that are about the same execution, with their places in the chunk.

    `new_id` is the execution's id if there was none before; `owner` the one that it has.
    """

    __slots__ = ("indexes", "new_id", "owner", "records", "workflow_id")

    def __init__(self, workflow_id: int, new_id: uuid.UUID) -> None:
        self.workflow_id = workflow_id
        self.new_id = self.owner = new_id
        self.records: list[ExecutionRecord] = []
        self.indexes: list[int] = []

    def add(self, index: int, record: ExecutionRecord) -> None:
        """Take another record about this execution."""
        self.indexes.append(index)
        self.records.append(record)

    @property
    def is_old(self) -> bool:
        """Whether the execution may be in a week that is being dropped."""
        return time_of(self.owner) < self.records[0].received_at - DAY

    def without(self, indexes: Collection[int]) -> Entry:
        """The entry without the records of these places."""
        rest = Entry(self.workflow_id, self.new_id)
        rest.owner = self.owner
        for index, record in zip(self.indexes, self.records, strict=True):
            if index not in indexes:
                rest.add(index, record)
        return rest

    def key_row(self) -> tables.KeyRow | None:
        """The claim of the sender's id for this execution; None where the sender gave none."""
        record = self.records[0]
        if record.external_id is None:
            return None
        place = record.tenant_id, record.external_id, self.workflow_id, record.environment_id
        return (*place, self.owner)


IdempotencyOwners = Mapping[tuple[int, bytes], tuple[bytes, uuid.UUID]]
"""(tenant, digest of the key) → digest of the body that it belongs to, and its execution."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which execution each entry is about, and the places of records that are refused."""

    owners: list[uuid.UUID]
    refused: frozenset[int]


def judge(entries: Sequence[Entry], known: IdempotencyOwners) -> Verdict:
    """Say what the keys of the entries' requests mean, once it is known whose they are.

    A record is refused when its key belongs to another body. One without an id of the sender's is
    about the execution that its key belongs to.
    """
    owners: list[uuid.UUID] = []
    refused: set[int] = set()
    for entry in entries:
        owner = entry.owner
        for index, record in zip(entry.indexes, entry.records, strict=True):
            if (key := record.idempotency) is None:
                continue
            body_digest, execution_id = known[record.tenant_id, key.digest]
            if body_digest != key.body_digest:
                refused.add(index)
            elif record.external_id is None:
                owner = execution_id
        owners.append(owner)
    return Verdict(owners, frozenset(refused))


class _Chunk:
    """One transaction's work, step by step."""

    def __init__(self, records: Sequence[ExecutionRecord], workflows: Workflows) -> None:
        self.records = records
        self.workflows = workflows
        self.results: list[Result | None] = [None] * len(records)
        self.entries: list[Entry] = []
        self.deltas: dict[tables.DeltaPlace, Delta] = {}
        self.events: list[tuple[int, dt.datetime, str]] = []
        self.titles: dict[tuple[int, bytes], tuple[str, str, int]] = {}

    def store(self) -> list[Result]:
        self._fold_by_identity(self.workflows.find_or_make(self.records))
        self._claim()
        written: list[tuple[ExecutionState, Derived]] = []
        states = self._states()
        for entry, state in zip(self.entries, states, strict=True):
            outcome = self._apply(entry, state)
            if outcome is not None:
                written.append(outcome)
        tables.write(written, self.deltas, self.events, self.titles)
        contact.note_messages(states)  # also where nothing changed: it was heard of
        return [result for result in self.results if result is not None]

    def keys_of(self, owners: Collection[uuid.UUID]) -> list[tables.KeyRow]:
        """The senders' ids that were found to be those of some executions."""
        rows = [entry.key_row() for entry in self.entries if entry.owner in owners]
        return [row for row in rows if row is not None]

    # --- which records are about the same execution ---------------------------------------------

    def _fold_by_identity(self, workflow_ids: Sequence[int]) -> None:
        of_identity: dict[object, Entry] = {}
        for index, (record, workflow_id) in enumerate(zip(self.records, workflow_ids, strict=True)):
            identity: object
            if record.external_id is not None:
                identity = (workflow_id, record.external_id)
            elif record.idempotency is not None:
                identity = (record.tenant_id, record.idempotency.digest)
            else:
                identity = index
            entry = of_identity.get(identity)
            if entry is None:
                entry = of_identity[identity] = Entry(workflow_id, first_id(record))
                self.entries.append(entry)
            entry.add(index, record)

    # --- which executions exist already ---------------------------------------------------------

    def _claim(self) -> None:
        """Give every entry an execution: claim its keys for a new id, or find whom they belong to."""
        self._claim_external_ids()
        if known := self._claim_idempotency():
            verdict = judge(self.entries, known)
            for entry, owner in zip(self.entries, verdict.owners, strict=True):
                entry.owner = owner
            if verdict.refused:
                self._refuse(verdict.refused)
        self._demand_kept()

    def _claim_external_ids(self) -> None:
        rows = [(entry, entry.key_row()) for entry in self.entries]
        known = tables.claim_external_ids([row for _, row in rows if row is not None])
        for entry, row in rows:
            if row is not None:
                entry.owner = known[entry.workflow_id, row[1]]

    def _claim_idempotency(self) -> IdempotencyOwners:
        wanted: dict[tuple[int, bytes], tuple[bytes, uuid.UUID]] = {}
        for entry in self.entries:
            for record in entry.records:
                if (key := record.idempotency) is not None:
                    wanted.setdefault(
                        (record.tenant_id, key.digest), (key.body_digest, entry.owner)
                    )
        if not wanted:
            return {}
        return tables.claim_idempotency_keys(
            [(*place, body_digest, owner) for place, (body_digest, owner) in wanted.items()]
        )

    def _demand_kept(self) -> None:
        """Raise NotKeptError for executions that would be new and would not be kept."""
        # Nobody keeps less than a day: mostly nothing has to be asked.
        old = [entry for entry in self.entries if entry.owner == entry.new_id and entry.is_old]
        if not old:
            return
        keeps = old_weeks.hold_keeps({entry.records[0].tenant_id for entry in old})
        answers: dict[int, Result] = {}
        for entry in old:
            refusal = _refusal_of_old(entry, keeps[entry.records[0].tenant_id])
            if refusal is not None:
                answers |= dict.fromkeys(entry.indexes, refusal)
        if answers:
            raise NotKeptError(answers)

    def _refuse(self, refused: frozenset[int]) -> None:
        """Answer records that are refused, and give back the ids claimed for what won't exist."""
        for index in refused:
            external_id = self.records[index].external_id
            self.results[index] = Result(
                Outcome.REJECTED, external_id=external_id, reason=KEY_REUSED, kind="key-reused"
            )
        emptied = [entry for entry in self.entries if refused.issuperset(entry.indexes)]
        claimed = [entry.key_row() for entry in emptied if entry.owner == entry.new_id]
        tables.release_external_ids([row for row in claimed if row is not None])
        rest = [entry.without(refused) for entry in self.entries]
        self.entries = [entry for entry in rest if entry.records]

    def _states(self) -> list[ExecutionState]:
        """What each entry's execution is before its messages; those that exist are locked."""
        existing = {
            (entry.records[0].tenant_id, entry.owner)
            for entry in self.entries
            if entry.owner != entry.new_id
        }
        if any(entry.is_old for entry in self.entries if entry.owner != entry.new_id):
            # Before its rows: who drops its week sees that they are heard of, or they are gone.
            old_weeks.hold_old()
        states = tables.lock_states(existing) if existing else {}
        return [
            new_state(entry.records[0], entry.owner, entry.workflow_id)
            if entry.owner == entry.new_id
            else states[entry.owner]
            for entry in self.entries
        ]

    # --- what the messages change ---------------------------------------------------------------

    def _apply(self, entry: Entry, state: ExecutionState) -> tuple[ExecutionState, Derived] | None:
        """Merge an entry's messages; return the state to write, None when nothing changed."""
        changed = is_new = state.is_new
        for place, (record, index) in enumerate(zip(entry.records, entry.indexes, strict=True)):
            first = is_new and place == 0
            did_change = first or merge(state, record)
            changed |= did_change
            self.results[index] = Result(_outcome(first, did_change), state.id, state.external_id)
            self._note_name(state, record)
        if not changed:
            return None
        derived = derive(state)
        self._count(state, derived)
        return state, derived

    def _note_name(self, state: ExecutionState, record: ExecutionRecord) -> None:
        name = record.workflow_name
        if name is not None and not self.workflows.knows_newer_name(
            state.workflow_id, record.order_key
        ):
            self._delta_of(state).rename(name, record.order_key)

    def _delta_of(self, state: ExecutionState) -> Delta:
        place = (state.tenant_id, state.environment_id, state.workflow_id, bucket_of(state.id))
        delta = self.deltas.get(place)
        if delta is None:
            delta = self.deltas[place] = Delta()
        return delta

    def _count(self, state: ExecutionState, derived: Derived) -> None:
        delta = self._delta_of(state)
        before, after = state.before, contribution(state, derived)
        if before is not None:
            delta.count(before, -1)
        delta.count(after, +1)
        if state.is_new:
            delta.executed_at(time_of(state.id))
        if derived.fingerprint is not None:
            self.titles.setdefault(
                (state.tenant_id, derived.fingerprint),
                (
                    derived.error_title or "",
                    (derived.error_message or "")[:1_000],
                    int(derived.error_class or 0),
                ),
            )
        if before is None or before.status is not after.status:
            self.events.append((state.tenant_id, state.changed_at, _event(state, derived)))


def _refusal_of_old(entry: Entry, keeps: old_weeks.Keeps) -> Result | None:
    """What the sender of a new execution is told that its tenant would not keep; None where it would."""
    record = entry.records[0]
    horizon = horizon_of(keeps.days, record.received_at)
    if time_of(entry.new_id) < horizon:
        return Result(
            Outcome.REJECTED,
            external_id=record.external_id,
            reason=f"It began before {horizon:%Y-%m-%d}: executions are kept for {keeps.days} days.",
            kind="too-old",
        )
    if keeps.is_going(entry.new_id):
        # Its tenant keeps more since it was decided; soon that is seen, or the week is gone.
        return Result(Outcome.FAILED, external_id=record.external_id, reason=WEEK_GOES)
    return None


def _outcome(first: bool, changed: bool) -> Outcome:
    if first:
        return Outcome.CREATED
    return Outcome.UPDATED if changed else Outcome.UNCHANGED


def _event(state: ExecutionState, derived: Derived) -> str:
    """Body of `execution.changed` (see models.Event)."""
    body: dict[str, Any] = {
        "execution": state.id,
        "workflow": state.workflow_id,
        "environment": state.environment_id,
        "status": state.status.slug,
        "before": None if state.before is None else state.before.status.slug,
        "error_class": None if derived.error_class is None else derived.error_class.slug,
        "severity": None if derived.severity is None else derived.severity.slug,
    }
    return msgspec.json.encode(body).decode()
