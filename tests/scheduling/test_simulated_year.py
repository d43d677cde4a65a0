"""A year on a simulated clock: three schedulers race and die, and each due time has one row."""

from __future__ import annotations

import datetime as dt
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from scheduling import schedules
from scheduling.due import Claim, Kind, LeaseLostError, claim
from scheduling.models import Scan, Schedule
from tenants.models import Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.factories import make_tenant

pytestmark = pytest.mark.django_db(transaction=True)

START = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
YEAR = dt.timedelta(days=365)
LONG_AGO = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
SCHEDULERS = 3
DEATHS = 0.15
TIMETABLES = [
    ("daily", dt.time(2, 30), "America/Chicago", 0),
    ("daily", dt.time(1, 30), "Europe/London", 0),
    ("daily", dt.time(23, 59), "Australia/Lord_Howe", 0),
    ("6h", dt.time(2, 15), "Pacific/Chatham", 0),
    ("6h", dt.time(0, 0), "America/Santiago", 0),
    ("12h", dt.time(1, 30), "America/New_York", 0),
    ("12h", dt.time(9, 0), "Asia/Kolkata", 0),
    ("weekly", dt.time(2, 30), "Europe/Berlin", 6),
]


class Died(BaseException):
    """The process is gone: nobody puts the row off, its lease runs out by itself."""


class Simulation:
    """Schedules whose clock is set by the test; the database's only says that they are due."""

    def __init__(self, tenant: Tenant, seed: int) -> None:
        self.tenant = tenant
        self.now = START
        self.chance = random.Random(seed)
        self.deaths = 0
        # Each thread keeps its connection; a death rolls back what it had not committed.
        self.pool = ThreadPoolExecutor(SCHEDULERS)
        self.schedules: list[Schedule] = []
        self.expected: dict[int, dict[dt.datetime, str]] = {}

    def make_schedules(self) -> None:
        for number, (frequency, at, zone, weekday) in enumerate(TIMETABLES):
            schedule = Schedule(
                tenant=self.tenant,
                name=f"{number}",
                frequency=frequency,
                preferred_time=at,
                time_zone=zone,
                weekday=weekday,
            )
            schedules.save(schedule, [])
            self.schedules.append(schedule)
            self.expected[schedule.pk] = {}

    def stride(self, work: Callable[[Claim[Schedule]], None]) -> None:
        """Let time pass, then let all schedulers look, again and again until nothing is due."""
        before, self.now = self.now, self.now + self._step()
        for schedule in self.schedules:
            times = list(schedule.timetable.between(before, self.now))
            self.expected[schedule.pk] |= dict.fromkeys(times[:-1], "missed")
            self.expected[schedule.pk] |= dict.fromkeys(times[-1:], "completed")
        kind = Kind("simulated", model=Schedule, work=work, at_once=3)
        while self._make_due():
            list(self.pool.map(self._look, [kind] * SCHEDULERS))
        with tenant_scope(self.tenant):
            Scan.objects.filter(status="pending").update(status="completed")

    def _step(self) -> dt.timedelta:
        usual = dt.timedelta(minutes=self.chance.randrange(5, 60 * 120))
        return self.chance.choice(
            [usual, usual, usual, dt.timedelta(days=self.chance.randrange(2, 9))]
        )

    def _make_due(self) -> int:
        """Whatever is due on the simulated clock is due for the database; dead leases have ended."""
        with tenant_scope(self.tenant):
            waiting = Schedule.objects.filter(next_scan_at__lte=self.now)
            return waiting.update(due_at=LONG_AGO, leased_until=None, attempts=0)

    def _look(self, kind: Kind[Schedule]) -> None:
        try:
            for held in claim(kind):
                if self.chance.random() < DEATHS:
                    raise Died
                with tenant_scope(self.tenant):
                    kind.work(held)
        except Died:
            self.deaths += 1
        except LeaseLostError:
            pass  # another one was faster

    def found(self, schedule: Schedule) -> dict[dt.datetime | None, str]:
        with tenant_scope(self.tenant):
            rows = schedule.scans.values_list("due_for", "status")
            assert len(rows) == len(dict(rows))
            return dict(rows)


@pytest.fixture
def simulation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    tenant = make_tenant("year")
    simulation = Simulation(tenant, seed=20_261_121)
    monkeypatch.setattr(schedules, "database_now", lambda: simulation.now)
    with tenant_scope(tenant):
        simulation.make_schedules()
    yield simulation
    everyone = threading.Barrier(SCHEDULERS)

    def leave() -> None:
        everyone.wait()
        connection.close()

    for left in [simulation.pool.submit(leave) for _ in range(SCHEDULERS)]:
        left.result()
    simulation.pool.shutdown()


def dying(simulation: Simulation) -> Callable[[Claim[Schedule]], None]:
    """The real work, which sometimes dies after it wrote and before it commits."""

    def work(held: Claim[Schedule]) -> None:
        dies = simulation.chance.random() < DEATHS

        class Dying(Claim[Schedule]):
            def _write(self, row: Schedule, **values: object) -> None:
                if dies:
                    raise Died
                super()._write(row, **values)

        schedules.start_due_scan(Dying(held.kind, held.row))

    return work


def test_each_due_time_of_a_year_has_one_row_and_runs_as_decided(simulation: Simulation) -> None:
    while simulation.now < START + YEAR:
        simulation.stride(dying(simulation))
    assert simulation.deaths > 30
    for schedule in simulation.schedules:
        assert simulation.found(schedule) == simulation.expected[schedule.pk], schedule.time_zone


def test_the_test_would_see_work_without_its_transaction(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutant: the next due time is stored before the scan's row, in a commit of its own."""

    def forgetful(held: Claim[Schedule]) -> None:
        with across_tenants():
            schedule = Schedule.objects.get(pk=held.row.pk)
        if schedule.next_scan_at is None or schedule.next_scan_at > simulation.now:
            return
        due = [schedule.next_scan_at]
        due += schedule.timetable.between(due[0], simulation.now)
        Schedule.objects.filter(pk=schedule.pk).update(
            next_scan_at=schedule.timetable.next_after(simulation.now)
        )
        if simulation.chance.random() < DEATHS:
            raise Died
        for time in due:
            Scan.objects.create(
                tenant=schedule.tenant, schedule=schedule, due_for=time, status="completed"
            )

    while simulation.now < START + YEAR / 6:
        simulation.stride(forgetful)
    assert any(
        simulation.found(schedule).keys() != simulation.expected[schedule.pk].keys()
        for schedule in simulation.schedules
    )
