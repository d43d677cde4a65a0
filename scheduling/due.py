"""Rows with a due time: what must happen later, done by whoever is free, once.

A table of such rows is a *kind*. Rows are claimed by the database's clock, a few at a time, past
those that others hold. A claim is a lease: it ends by itself when its holder dies, and each claim
has a greater fence than the one before, so that a holder who wakes up too late can't commit.
Attempts are counted at the claim, so that work which kills its process counts too; after
a kind's `max_attempts` without progress a row is quarantined.

    register_kind(Kind("scan", model=Scan, work=do_scan))

    def do_scan(claim: Claim[Scan]) -> None:
        with claim.holding() as scan: ...        # effects and a renewed lease, or nothing
        with claim.finishing() as scan: ...      # effects, and the row rests
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.util import Finalize
from typing import Any, Final, Generic, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from psycopg.errors import LockNotAvailable

from scheduling.models.due import DueRow
from tenants.scoping import across_tenants, tenant_scope

logger = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 5
ERROR_LENGTH: Final = 2_000
_LOOK_SECONDS: Final = 0.1
_LOCK_MILLISECONDS: Final = 500
# A kind that does not spread rests so many times as long as it worked, and at most so many seconds.
_REST: Final = 2.0
_LONGEST_REST: Final = 2.0
# So long a drain goes on looking after a row was begun or ended in one of its threads.
_LINGER_SECONDS: Final = 0.5
# A process that ends waits so long for its threads: less than the patience of the watchdog.
_LAST_SECONDS: Final = 30.0
_EVERY_ROW: Final = Q()
AWAKE: Final = Q(tenant__suspended_at=None, tenant__deletion_requested_at=None)
"""Rows of tenants that are neither suspended nor being deleted; the others rest, and nothing is lost."""
_LONGEST_PAUSE: Final = dt.timedelta(minutes=15)


class CannotReviveError(Exception):
    """A row that was given up can't be tried again now, with words for people."""


class LeaseLostError(Exception):
    """Somebody else has claimed the row since, or it is gone or at rest: nothing may be committed."""


Row = TypeVar("Row", bound=DueRow)


def pause_after(attempts: int) -> dt.timedelta:
    """How long a row rests that failed for the `attempts`-th time: 1 s, 4 s, 16 s, …"""
    pause = settings.PACE.seconds(4.0 ** (attempts - 1))
    return min(dt.timedelta(seconds=pause), _LONGEST_PAUSE)


@dataclass(frozen=True)
class Kind(Generic[Row]):
    """One table of due rows and what is done with each.

    `work` does a step of at most a few seconds and ends its claim by `finishing` (or raises).
    `only` are the table's rows that belong to the kind. With `threads` each process works on so
    many rows beside each other, each on a connection of its own: for work that waits for others.
    No drain waits for rows that hang, so they keep neither a worker nor another kind.
    `together` does the work of what was claimed at once, of many tenants, and ends the claims; those
    that it leaves are worked on one by one.
    Wake-ups of one that is `urgent` go before those of others: people wait, and its turns are short.
    One with `spreads=False` keeps one worker at a time, mostly, and that rests twice as long as it
    works: it may wait, and leaves the machine to those who post.
    `on_quarantine` is told, in the transaction that does it, which row is given up; `on_revival`,
    which one is tried again after all, and may raise CannotReviveError.
    """

    name: str
    model: type[Row]
    work: Callable[[Claim[Row]], None]
    lease_seconds: float = 60.0
    max_attempts: int = MAX_ATTEMPTS
    at_once: int = 1
    only: Q = _EVERY_ROW
    threads: int = 1
    together: Callable[[Sequence[Claim[Row]]], None] | None = None
    urgent: bool = False
    spreads: bool = True
    rest: Callable[[int], dt.timedelta] = pause_after
    on_quarantine: Callable[[Row], None] | None = None
    on_revival: Callable[[Row], None] | None = None

    @property
    def lease(self) -> dt.timedelta:
        """How long a claim holds without being renewed."""
        return dt.timedelta(seconds=settings.PACE.seconds(self.lease_seconds))

    def due(self) -> models.QuerySet[Row]:
        """Rows that somebody could claim now, in any tenant that is awake (ask `across_tenants`)."""
        free = Q(leased_until__isnull=True) | Q(leased_until__lte=Now())
        return self.model._default_manager.filter(
            self.only, AWAKE, free, due_at__lte=Now(), quarantined_at__isnull=True
        )


_kinds: dict[str, Kind[Any]] = {}


def register_kind(kind: Kind[Any]) -> None:
    """Make a kind known to the tick. Raises ValueError for a name that is taken."""
    if kind.name in _kinds:
        raise ValueError(f"There is a kind of due rows named {kind.name!r} already.")
    _kinds[kind.name] = kind


def kinds() -> list[Kind[Any]]:
    """All registered kinds."""
    return list(_kinds.values())


def is_urgent(name: str) -> bool:
    """Whether a kind of that name is there and urgent."""
    return name in _kinds and _kinds[name].urgent


def spreads(name: str) -> bool:
    """Whether several workers may be woken for a kind of that name, one after the other."""
    return name not in _kinds or _kinds[name].spreads


@dataclass
class Claim(Generic[Row]):
    """The right to work on one row until its lease ends."""

    kind: Kind[Row]
    row: Row
    ended: bool = False

    @contextmanager
    def holding(self) -> Iterator[Row]:
        """A transaction in the middle: what the block writes is committed with the renewed lease.

        Raises LeaseLostError before the block when another claim came between, or when the tenant
        was suspended: what is only planned is not done then, while what was done is still recorded
        by `finishing`.
        """
        with self._locked(AWAKE) as row:
            yield row
            self._write(row, leased_until=Now() + self.kind.lease)

    @contextmanager
    def finishing(self, *, due_at: dt.datetime | None = None) -> Iterator[Row]:
        """The transaction that ends a step: the row rests afterwards, until `due_at` if given.

        The block may set `row.due_at` itself, which then counts; with the present time the next
        step is due at once. It is progress: attempts count from zero again. Raises LeaseLostError.
        """
        with self._locked() as row:
            row.due_at = due_at
            yield row
            self._write(row, due_at=row.due_at, leased_until=None, attempts=0, last_error="")
        self.ended = True

    def put_off(self, error: BaseException) -> None:
        """Give the row back after a failure: due again after a rest, or given up for good."""
        said = f"{type(error).__name__}: {error}"[:ERROR_LENGTH].replace("\x00", "\ufffd")
        with self._locked() as row:
            if row.attempts >= self.kind.max_attempts:
                row.last_error = said
                _quarantine(self.kind, row)
            else:
                due_at = Now() + self.kind.rest(max(row.attempts, 1))
                self._write(row, leased_until=None, last_error=said, due_at=due_at)
        self.ended = True

    @contextmanager
    def _locked(self, demanded: Q = _EVERY_ROW) -> Iterator[Row]:
        with tenant_scope(self.row.tenant), transaction.atomic():
            held = self.kind.model._default_manager.select_for_update(of=("self",), no_key=True)
            row = held.filter(demanded, pk=self.row.pk, fence=self.row.fence).first()
            if row is None:
                raise LeaseLostError(
                    f"{self.kind.name} {self.row.pk} is somebody else's by now, or its tenant rests"
                )
            yield row

    def _write(self, row: Row, **values: Any) -> None:
        self.kind.model._default_manager.filter(pk=row.pk).update(**values)


def claim(kind: Kind[Row]) -> list[Claim[Row]]:
    """Take the due rows that waited longest, past those that others hold.

    When others hold all of them, the first is waited for, for a moment: one that is made due again
    and again (in a storm, an address) is locked nearly all the time.
    """
    with across_tenants(), transaction.atomic():
        _quarantine_poison(kind)
        waiting = kind.due().filter(attempts__lt=kind.max_attempts).order_by("due_at")
        rows = list(
            waiting.select_related("tenant").select_for_update(
                skip_locked=True, of=("self",), no_key=True
            )[: kind.at_once]
        )
        if not rows and waiting.exists():
            rows = _wait_for_first(waiting)
        kind.model._default_manager.filter(pk__in=[row.pk for row in rows]).update(
            attempts=F("attempts") + 1, fence=F("fence") + 1, leased_until=Now() + kind.lease
        )
    for row in rows:
        row.attempts += 1
        row.fence += 1
    return [Claim(kind, row) for row in rows]


@contextmanager
def finishing_together(claims: Sequence[Claim[Row]], order: str = "pk") -> Iterator[list[Row]]:
    """The transaction that ends steps of one tenant, one at least: `finishing` of all, or of none.

    The block gets the rows as they are stored, locked in the order of that field, and may set their
    `due_at`. Raises LeaseLostError before the block when another claim came between for one.
    """
    kind, by_pk = claims[0].kind, {held.row.pk: held for held in claims}
    manager = kind.model._default_manager
    with tenant_scope(claims[0].row.tenant), transaction.atomic():
        locked = manager.select_for_update(of=("self",), no_key=True).filter(pk__in=by_pk)
        rows = [row for row in locked.order_by(order) if row.fence == by_pk[row.pk].row.fence]
        if len(rows) < len(claims):
            raise LeaseLostError(f"of {len(claims)} {kind.name} {len(rows)} are held")
        for row in rows:
            row.due_at, row.leased_until, row.attempts, row.last_error = None, None, 0, ""
        yield rows
        manager.bulk_update(rows, ["due_at", "leased_until", "attempts", "last_error"])
    for held in claims:
        held.ended = True


def _wait_for_first(waiting: models.QuerySet[Row]) -> list[Row]:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout TO {_LOCK_MILLISECONDS}")
            # Only one: who waits for a lock while it has another may wait for ever.
            return list(
                waiting.select_related("tenant").select_for_update(of=("self",), no_key=True)[:1]
            )
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            return []
        raise


def _quarantine_poison(kind: Kind[Row]) -> None:
    """Give up the rows whose workers died too often to say so themselves."""
    poison = kind.due().filter(attempts__gte=kind.max_attempts)
    held = poison.select_for_update(skip_locked=True, of=("self",), no_key=True).select_related(
        "tenant"
    )
    for row in held.order_by("due_at")[: kind.at_once]:
        _quarantine(kind, row)


def _quarantine(kind: Kind[Row], row: Row) -> None:
    kind.model._default_manager.filter(pk=row.pk).update(
        quarantined_at=Now(), leased_until=None, last_error=row.last_error
    )
    logger.error("due row quarantined", extra={"kind": kind.name, "row": row.pk})
    if kind.on_quarantine is None:
        return
    try:
        with tenant_scope(row.tenant), transaction.atomic():
            kind.on_quarantine(row)
    except Exception:  # a row that can't even be reported must not stop those of all tenants
        logger.exception("quarantine not reported", extra={"kind": kind.name, "row": row.pk})


REVIVED: Final[dict[str, Any]] = {
    "quarantined_at": None,
    "leased_until": None,
    "attempts": 0,
    "last_error": "",
}
"""What an update sets so that a row which was given up is worked on again."""


def revive(name: str, row_id: int) -> DueRow | None:
    """Have a row that was given up worked on again at once; None where there is no such row.

    Call it in a transaction. Raises CannotReviveError.
    """
    kind = _kinds.get(name)
    if kind is None:
        return None
    with across_tenants():
        held = kind.model._default_manager.select_for_update(
            of=("self",), no_key=True
        ).select_related("tenant")
        row: DueRow | None = held.filter(kind.only, pk=row_id, quarantined_at__isnull=False).first()
        if row is None:
            return None
        kind.model._default_manager.filter(pk=row.pk).update(due_at=Now(), **REVIVED)
    if kind.on_revival is not None:
        with tenant_scope(row.tenant):
            kind.on_revival(row)
    return row


def drain(name: str, *, seconds: float = 10.0) -> bool:
    """Claim and do due rows of a kind for at most about `seconds`; say whether to go on at once.

    This is what a wake-up runs: it may come twice, late, or not at all. A kind's threads that hang
    are not waited for: they end by themselves, and until then this process has fewer for the kind.
    """
    kind = _kinds[name]
    end = time.monotonic() + seconds
    if kind.threads > 1:
        crew = _crew_of(kind)
        _drain_by_threads(kind, crew, end)
        if crew.is_full:
            return False  # whoever else is woken goes on; this process could only look again
    else:
        _drain_in_line(kind, end)
    with across_tenants():
        return kind.due().exists()


def _drain_in_line(kind: Kind[Any], end: float) -> None:
    while time.monotonic() < end:
        _rest(kind)
        with _tiring(kind):
            claims = claim(kind)
            _work_together(kind, claims)
        for number, held in enumerate(each for each in claims if not each.ended):
            # The first was claimed this moment: whoever waits for it does not wait for a rest, too.
            if number:
                _rest(kind)
            with _tiring(kind):
                _do(held)
        if not claims:
            return


_rested_at: dict[str, float] = {}


def _rest(kind: Kind[Any]) -> None:
    """Wait until this process has rested after what it did of the kind, in an earlier turn too."""
    pause = _rested_at.get(kind.name, 0.0) - time.monotonic()
    if pause > 0:
        time.sleep(pause)


@contextmanager
def _tiring(kind: Kind[Any]) -> Iterator[None]:
    began = time.monotonic()
    yield
    if not kind.spreads:
        ended = time.monotonic()
        rested_at = max(_rested_at.get(kind.name, 0.0), ended) + _REST * (ended - began)
        _rested_at[kind.name] = min(rested_at, ended + _LONGEST_REST)


def _work_together(kind: Kind[Row], claims: list[Claim[Row]]) -> None:
    if kind.together is None or not claims:
        return
    try:
        kind.together(claims)
    except LeaseLostError as lost:
        logger.warning("lease lost", extra={"kind": kind.name, "why": str(lost)})
    except Exception:  # one row must not keep all others from being worked on, one by one
        logger.exception("due rows not done together", extra={"kind": kind.name})
        if not connection.is_usable():
            connection.close()


def _drain_by_threads(kind: Kind[Any], crew: _Crew, end: float) -> None:
    """Keep as many rows in work as the kind has threads, until nothing moves any more."""
    moves_until = 0.0
    while (now := time.monotonic()) < end:
        claims = [] if crew.is_full else claim(replace(kind, at_once=crew.free))
        for held in claims:
            crew.begin(held)
        if claims:
            moves_until = now + _LINGER_SECONDS
        if not crew.threads or now > moves_until:
            return
        if crew.one_ends(_LOOK_SECONDS):
            moves_until = time.monotonic() + _LINGER_SECONDS


class _Crew:
    """The threads in which this process works on rows of one kind; they may outlive a drain."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.threads: set[threading.Thread] = set()
        self._ended = threading.Event()

    @property
    def free(self) -> int:
        """How many more rows can be worked on."""
        return self.size - len(self.threads)

    @property
    def is_full(self) -> bool:
        return self.free <= 0

    def begin(self, held: Claim[Any]) -> None:
        """Work on a claimed row in a thread of its own."""
        # Daemons: a process that ends waits for them as long as it can, and no longer.
        thread = threading.Thread(target=self._work, args=[held], name=held.kind.name, daemon=True)
        self.threads.add(thread)
        thread.start()

    def _work(self, held: Claim[Any]) -> None:
        try:
            _do(held)
        finally:
            connection.close()
            self.threads.discard(threading.current_thread())
            self._ended.set()

    def one_ends(self, seconds: float) -> bool:
        """Wait for a thread to end; say whether one has since this was asked last."""
        has_ended = self._ended.wait(seconds)
        self._ended.clear()
        return has_ended


_crews: dict[str, _Crew] = {}


def _crew_of(kind: Kind[Any]) -> _Crew:
    if not _crews:
        # Processes of multiprocessing, as workers are, do this before they end.
        Finalize(None, wait_for_threads, exitpriority=0)
    return _crews.setdefault(kind.name, _Crew(kind.threads))


def free_connection() -> None:
    """Give up the thread's connection before a long wait; the next question opens another.

    Inside a transaction it does nothing.
    """
    if not connection.in_atomic_block:
        connection.close()


def wait_for_threads(seconds: float | None = None) -> bool:
    """Let what this process began in threads come to its end; say whether it did.

    Without `seconds` as long as a process that ends may take.
    """
    end = time.monotonic() + (settings.PACE.seconds(_LAST_SECONDS) if seconds is None else seconds)
    threads = [thread for crew in _crews.values() for thread in list(crew.threads)]
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _do(held: Claim[Any]) -> None:
    try:
        with tenant_scope(held.row.tenant):
            held.kind.work(held)
            if not held.ended:
                raise RuntimeError("the work returned without ending its claim")
    except LeaseLostError as lost:
        logger.warning("lease lost", extra={"kind": held.kind.name, "why": str(lost)})
    except Exception as error:  # whatever one row does, the others are worked on
        _put_off(held, error)


def _put_off(held: Claim[Any], error: Exception) -> None:
    logger.exception("due row failed", extra={"kind": held.kind.name, "row": held.row.pk})
    if isinstance(error, OperationalError | InterfaceError) and not connection.is_usable():
        connection.close()  # the lease ends by itself, and somebody does the row again
        return
    try:
        held.put_off(error)
    except LeaseLostError:
        logger.warning("lease lost", extra={"kind": held.kind.name, "why": "while failing"})
