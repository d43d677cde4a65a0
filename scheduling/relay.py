"""The relay: takes events from the outbox and gives them to those who subscribed.

    @subscriber("execution.changed")
    def open_incidents(events: Sequence[Event]) -> None: ...

What a subscriber writes is committed with the removal of the events, so it happens once. Events are
taken by state (what is there is not delivered yet), never by `id > last`. An event that a
subscriber fails to take becomes a `Delivery`: a due row, tried again by the workers and quarantined
after five attempts; other events, subscribers and tenants do not wait for it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, TypeAlias

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now

from monitoring.models import Event
from scheduling.due import ERROR_LENGTH, MAX_ATTEMPTS, Claim
from scheduling.models import Delivery, Leader
from tenants.models import Tenant
from tenants.scoping import tenant_scope

logger = logging.getLogger(__name__)

BATCH: Final = 1_000
# How much one batch may spend on finding out which of its events fail; the rest is put aside whole.
MOST_FAILURES: Final = 20
LONGEST_SEARCH_SECONDS: Final = 2.0

Subscriber: TypeAlias = Callable[[Sequence[Event]], None]

_IS_ANY: Final = "SELECT id FROM monitoring_event ORDER BY id LIMIT 1"
_TAKE: Final = """
DELETE FROM monitoring_event WHERE id = ANY(ARRAY(
    SELECT id FROM monitoring_event ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
)) RETURNING id, tenant_id, kind, body, created_at
"""

_subscribers: dict[str, dict[str, Subscriber]] = {}


def subscriber(kind: str) -> Callable[[Subscriber], Subscriber]:
    """Register a function for events of a kind, under its dotted name (which should stay).

    It is called in the scope of one tenant, inside the relay's transaction, with up to 1,000 events
    of that tenant, oldest first; an event that failed before comes later than newer ones. It may
    only write rows. Whatever it raises undoes what it wrote.
    """

    def register(function: Subscriber) -> Subscriber:
        name = f"{function.__module__}.{function.__qualname__}"
        _subscribers.setdefault(kind, {})[name] = function
        return function

    return register


@dataclass
class Relay:
    """Delivers the outbox batch by batch; `did_step` since that was last asked.

    An event whose delivery ends the process is found, too: after such an end the next ones go one
    by one, and one that ends five processes is quarantined untried.
    """

    did_step: bool = False
    # How many processes in a row have died while relaying; None: not looked up yet.
    _deaths: int | None = field(default=None, init=False)
    _careful: int = field(default=0, init=False)

    def step(self) -> bool:
        """Deliver one batch; say whether there may be more."""
        if self._deaths is None:
            self._look_up_deaths()
        taken = self._deliver_batch() if _is_any() else 0
        self.did_step = True
        return taken > 0

    def _look_up_deaths(self) -> None:
        leader, _ = Leader.objects.get_or_create(pk=1, defaults={"host": "", "pid": 0})
        self._deaths = leader.deaths
        self._careful = BATCH if leader.deaths else 0

    def _deliver_batch(self) -> int:
        assert self._deaths is not None
        self._mark(self._deaths + 1)
        with transaction.atomic():
            events = _take(1 if self._careful else BATCH)
            if self._deaths >= MAX_ATTEMPTS:
                _give_up(events, self._deaths)
            else:
                _deliver(events)
            self._mark(0)
        self._deaths = 0
        self._careful = max(0, self._careful - len(events))
        return len(events)

    def _mark(self, deaths: int) -> None:
        """Say that a batch is begun or done: a process that dies can't say so any more."""
        with transaction.atomic(), connection.cursor() as cursor:
            # Only a death of the server could lose it, and of the batch nothing is stored then.
            cursor.execute("SET LOCAL synchronous_commit TO off")
            Leader.objects.filter(pk=1).update(deaths=deaths)


def _is_any() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_IS_ANY)
        return cursor.fetchone() is not None


def _take(limit: int) -> list[Event]:
    """Remove the oldest events that are there, and return them in their order."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, [limit])
        rows = sorted(cursor.fetchall())
    return [
        Event(id=number, tenant_id=tenant, kind=kind, body=json.loads(body), created_at=created)
        for number, tenant, kind, body, created in rows
    ]


def _by_tenant(events: list[Event]) -> Iterator[tuple[Tenant, str, list[Event]]]:
    """Events of one tenant and kind together, oldest first; none of tenants that are gone."""

    def which(event: Event) -> tuple[int, str]:
        return event.tenant_id, event.kind

    tenants = Tenant.objects.in_bulk({event.tenant_id for event in events})
    for (tenant_id, kind), group in groupby(sorted(events, key=which), key=which):
        if tenant_id in tenants:
            yield tenants[tenant_id], kind, list(group)


def _deliver(events: list[Event]) -> None:
    search = _Search()
    for tenant, kind, group in _by_tenant(events):
        with tenant_scope(tenant):
            for name, function in _subscribers.get(kind, {}).items():
                failed = search.deliver(function, group)
                Delivery.objects.bulk_create(
                    [_put_aside(event, name, error) for event, error in failed]
                )


@dataclass
class _Search:
    """Finds the events of a batch that a subscriber fails to take, within bounds."""

    failures: int = 0
    end: float = field(default_factory=lambda: time.monotonic() + LONGEST_SEARCH_SECONDS)

    def deliver(
        self, function: Subscriber, events: list[Event]
    ) -> list[tuple[Event, BaseException]]:
        """Call the subscriber, with halves and halves of halves when it fails; return the rest."""
        try:
            with transaction.atomic():
                function(events)
        except Exception as error:  # whatever one subscriber does, the others get their events
            _refuse_outage(error)
            if len(events) == 1 or self._is_over():
                self.failures += 1
                logger.exception("event not delivered", extra={"events": len(events)})
                return [(event, error) for event in events]
        else:
            return []
        half = len(events) // 2
        return self.deliver(function, events[:half]) + self.deliver(function, events[half:])

    def _is_over(self) -> bool:
        return self.failures >= MOST_FAILURES or time.monotonic() > self.end


def _refuse_outage(error: Exception) -> None:
    """Without the database nothing is delivered, and nobody's fault."""
    if isinstance(error, OperationalError | InterfaceError) and not connection.is_usable():
        raise error


def _put_aside(event: Event, name: str, error: BaseException) -> Delivery:
    return Delivery(
        tenant_id=event.tenant_id,
        subscriber=name,
        kind=event.kind,
        body=event.body,
        event_id=event.pk,
        happened_at=event.created_at,
        due_at=Now(),
        last_error=f"{type(error).__name__}: {error}"[:ERROR_LENGTH].replace("\x00", "\ufffd"),
    )


def _give_up(events: list[Event], deaths: int) -> None:
    """Quarantine what has ended so many processes without trying it again."""
    error = RuntimeError(f"delivering it ended the process {deaths} times")
    for tenant, kind, group in _by_tenant(events):
        with tenant_scope(tenant):
            for name in _subscribers.get(kind, {}):
                for event in group:
                    delivery = _put_aside(event, name, error)
                    delivery.attempts, delivery.quarantined_at = MAX_ATTEMPTS, Now()
                    delivery.save()
                    logger.error("event quarantined", extra={"event": event.pk, "to": name})


def deliver_again(claim: Claim[Delivery]) -> None:
    """Work of the kind "delivery": one event, to the one subscriber that failed to take it."""
    with claim.finishing() as delivery:
        function = _subscribers.get(delivery.kind, {}).get(delivery.subscriber)
        if function is not None:
            function([_event_of(delivery)])
        Delivery.objects.filter(pk=delivery.pk).delete()


def _event_of(delivery: Delivery) -> Event:
    return Event(
        id=delivery.event_id,
        tenant_id=delivery.tenant_id,
        kind=delivery.kind,
        body=delivery.body,
        created_at=delivery.happened_at,
    )
