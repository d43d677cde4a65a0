"""Due rows: claims by the database's clock, leases, fences, attempts, quarantine."""

from __future__ import annotations

import datetime as dt
import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from config.pace import Pace
from scheduling import due
from scheduling.due import (
    MAX_ATTEMPTS,
    Claim,
    Kind,
    LeaseLostError,
    claim,
    drain,
    finishing_together,
    register_kind,
)
from scheduling.models import Scan
from tenants.lifecycle import resume, suspend
from tenants.models import Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.factories import make_tenant

pytestmark = pytest.mark.django_db(transaction=True)

PAST = dt.timedelta(seconds=1)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("due")


@pytest.fixture(autouse=True)
def only_own_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "_kinds", {})
    monkeypatch.setattr(due, "_crews", {})


def waiting(tenant: Tenant, **fields: Any) -> Scan:
    """A row that became due a second ago (Scan is one kind of due rows)."""
    with tenant_scope(tenant):
        scan = Scan.objects.create(tenant=tenant, status=Scan.Status.COMPLETED, **fields)
        Scan.objects.filter(pk=scan.pk).update(due_at=Now() - PAST)
        return scan


def again(scan: Scan, **fields: Any) -> Scan:
    with across_tenants():
        Scan.objects.filter(pk=scan.pk).update(**fields) if fields else None
        return Scan.objects.get(pk=scan.pk)


def finish(held: Claim[Scan]) -> None:
    with held.finishing():
        pass


def kind(work: Callable[[Claim[Scan]], None] = finish, **fields: Any) -> Kind[Scan]:
    made = Kind("test", model=Scan, work=work, **fields)
    register_kind(made)
    return made


def test_only_what_is_due_is_claimed_oldest_first(tenant: Tenant) -> None:
    later, first, second = waiting(tenant), waiting(tenant), waiting(tenant)
    again(later, due_at=Now() + dt.timedelta(hours=1))
    again(first, due_at=Now() - dt.timedelta(hours=1))
    taken = claim(kind(at_once=5))
    assert [held.row.pk for held in taken] == [first.pk, second.pk]
    assert claim(replace(taken[0].kind)) == [], "claimed rows are nobody else's"


@contextmanager
def locked_elsewhere(scan: Scan, seconds: float) -> Iterator[None]:
    """Another session holds the row's lock for so long, as whoever makes it due does."""
    locked = threading.Event()

    def hold() -> None:
        with tenant_scope(scan.tenant), transaction.atomic():
            Scan.objects.select_for_update(of=("self",)).get(pk=scan.pk)
            locked.set()
            time.sleep(seconds)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(5)
    yield
    thread.join()


def test_a_row_that_is_locked_just_now_is_waited_for(tenant: Tenant) -> None:
    """Found in a storm: an address was locked whenever a worker looked, and nobody was told."""
    scan = waiting(tenant)
    with locked_elsewhere(scan, 0.2):
        assert [held.row.pk for held in claim(kind())] == [scan.pk]


def test_a_row_that_is_locked_holds_up_no_other_and_nobody_for_long(tenant: Tenant) -> None:
    scan, other = waiting(tenant), waiting(tenant)
    own = kind()
    with locked_elsewhere(scan, 1.5):
        began = time.monotonic()
        assert [held.row.pk for held in claim(own)] == [other.pk]
        assert claim(own) == []
        assert time.monotonic() - began < 1.4
    assert [held.row.pk for held in claim(own)] == [scan.pk]


def test_a_finished_row_rests_until_it_is_due_again(tenant: Tenant) -> None:
    scan = waiting(tenant)
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)

    def work(held: Claim[Scan]) -> None:
        with held.finishing(due_at=tomorrow) as row:
            row.issues_found = 7
            row.save(update_fields=["issues_found"])

    kind(work)
    assert drain("test") is False
    row = again(scan)
    assert (row.issues_found, row.due_at, row.attempts, row.leased_until) == (7, tomorrow, 0, None)


def test_effects_and_the_end_of_the_claim_commit_together(tenant: Tenant) -> None:
    scan = waiting(tenant)

    def work(held: Claim[Scan]) -> None:
        with held.finishing() as row:
            row.issues_found = 7
            row.save(update_fields=["issues_found"])
            raise ValueError("in the middle")

    kind(work)
    drain("test", seconds=0.5)
    row = again(scan)
    assert row.issues_found == 0
    assert row.last_error == "ValueError: in the middle"
    assert row.due_at is not None
    assert row.due_at > dt.datetime.now(dt.UTC), "it rests before it is tried again"


def test_a_lease_that_ran_out_is_claimed_by_another_and_the_zombie_refused(tenant: Tenant) -> None:
    scan = waiting(tenant)
    [zombie] = claim(kind())
    again(scan, leased_until=Now() - PAST)
    [other] = claim(zombie.kind)
    assert other.row.pk == zombie.row.pk
    with pytest.raises(LeaseLostError), zombie.finishing():
        Scan.objects.filter(pk=scan.pk).update(issues_found=99)
    with pytest.raises(LeaseLostError), zombie.holding():
        pass
    with other.finishing():
        pass
    assert again(scan).issues_found == 0


def test_holding_renews_the_lease(tenant: Tenant) -> None:
    scan = waiting(tenant)
    [held] = claim(kind())
    again(scan, leased_until=Now() + PAST)
    with held.holding() as row:
        row.issues_found = 3
        row.save(update_fields=["issues_found"])
    row = again(scan)
    assert row.issues_found == 3
    assert row.leased_until is not None
    assert row.leased_until > dt.datetime.now(dt.UTC) + dt.timedelta(seconds=50)


def test_a_row_that_is_deleted_meanwhile_is_a_lost_lease(tenant: Tenant) -> None:
    scan = waiting(tenant)
    [held] = claim(kind())
    with tenant_scope(tenant):
        Scan.objects.filter(pk=scan.pk).delete()
    with pytest.raises(LeaseLostError), held.finishing():
        pass


def test_what_fails_five_times_is_quarantined_and_told_once(tenant: Tenant) -> None:
    scan, told = waiting(tenant), []

    def fail(held: Claim[Scan]) -> None:
        raise ValueError("always\x00")

    kind(fail, on_quarantine=lambda row: told.append(row.pk), rest=lambda attempts: -PAST)
    assert drain("test") is False
    row = again(scan)
    assert row.quarantined_at is not None
    assert (row.attempts, row.last_error) == (MAX_ATTEMPTS, "ValueError: always\ufffd")
    assert told == [scan.pk]


def test_work_that_kills_its_process_is_quarantined_after_five_claims(tenant: Tenant) -> None:
    scan, told = waiting(tenant), []
    killing = kind(on_quarantine=lambda row: told.append(row.pk))
    for _ in range(MAX_ATTEMPTS):
        assert len(claim(killing)) == 1
        again(scan, leased_until=Now() - PAST)  # the process died; its lease ran out
    assert claim(killing) == []
    assert again(scan).quarantined_at is not None
    assert told == [scan.pk]
    assert claim(killing) == []
    assert told == [scan.pk]


def test_poison_does_not_stop_the_others(tenant: Tenant) -> None:
    poison, good = waiting(tenant), [waiting(tenant) for _ in range(20)]

    def work(held: Claim[Scan]) -> None:
        if held.row.pk == poison.pk:
            raise ValueError("poison")
        finish(held)

    kind(work)
    drain("test")
    assert all(again(scan).due_at is None for scan in good)


def test_work_that_forgets_to_end_its_claim_is_a_failure(tenant: Tenant) -> None:
    scan = waiting(tenant)
    kind(lambda held: None)
    drain("test", seconds=0.2)
    assert "without ending its claim" in again(scan).last_error


def test_rests_grow_and_follow_the_pace(settings: Settings) -> None:
    assert [due.pause_after(n).total_seconds() for n in (1, 2, 3)] == [1, 4, 16]
    assert due.pause_after(20) == dt.timedelta(minutes=15)
    settings.PACE = Pace(0.1)
    assert due.pause_after(2) == dt.timedelta(seconds=0.4)


def test_many_workers_do_each_row_once(tenant: Tenant) -> None:
    scans = [waiting(tenant) for _ in range(120)]

    def count(held: Claim[Scan]) -> None:
        with held.finishing() as row:
            Scan.objects.filter(pk=row.pk).update(issues_found=models.F("issues_found") + 1)

    kind(count, at_once=3)

    def work() -> None:
        try:
            drain("test")
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert {again(scan).issues_found for scan in scans} == {1}


def test_work_sees_its_own_tenant_only(tenant: Tenant) -> None:
    other, seen = make_tenant("other"), []
    waiting(tenant)
    theirs = waiting(other)

    def look(held: Claim[Scan]) -> None:
        seen.append((held.row.tenant.slug, Scan.objects.filter(pk=theirs.pk).exists()))
        finish(held)

    kind(look)
    drain("test")
    assert sorted(seen) == [("due", False), ("other", True)]


def test_a_kind_may_be_some_of_a_tables_rows(tenant: Tenant) -> None:
    ours, theirs = waiting(tenant, scope="all"), waiting(tenant, scope="active")
    kind(only=models.Q(scope="all"))
    drain("test")
    assert (again(ours).due_at, again(theirs).due_at is None) == (None, False)


def test_rows_that_end_together_rest_until_each_is_due(tenant: Tenant) -> None:
    ends, goes_on = waiting(tenant), waiting(tenant)
    claims = claim(kind(at_once=5))
    now = timezone.now()
    with finishing_together(claims) as rows:
        assert [row.pk for row in rows] == [ends.pk, goes_on.pk]
        rows[1].due_at = now
    assert all(held.ended for held in claims)
    assert [again(each).due_at for each in (ends, goes_on)] == [None, now]
    assert {(again(each).leased_until, again(each).attempts) for each in (ends, goes_on)} == {
        (None, 0)
    }


def test_rows_of_which_one_was_lost_do_not_end_together(tenant: Tenant) -> None:
    kept, lost = waiting(tenant), waiting(tenant)
    claims = claim(kind(at_once=5))
    again(lost, fence=9)
    with pytest.raises(LeaseLostError), finishing_together(claims):
        pytest.fail("the block was entered")
    assert not any(held.ended for held in claims)
    assert all(again(each).leased_until for each in (kept, lost))


def test_what_is_left_of_work_together_is_done_one_by_one(tenant: Tenant) -> None:
    quick, slow = waiting(tenant), waiting(tenant)
    done: list[int] = []

    def together(claims: Sequence[Claim[Scan]]) -> None:
        with finishing_together([held for held in claims if held.row.pk == quick.pk]):
            pass

    def work(held: Claim[Scan]) -> None:
        done.append(held.row.pk)
        finish(held)

    kind(work, together=together, at_once=5)
    assert not drain("test")
    assert done == [slow.pk]


@pytest.mark.parametrize("error", [ValueError("one breaks it"), LeaseLostError("one is lost")])
def test_rows_are_worked_on_one_by_one_when_work_together_fails(
    tenant: Tenant, error: Exception
) -> None:
    scans = [waiting(tenant) for _ in range(3)]

    def together(claims: Sequence[Claim[Scan]]) -> None:
        with finishing_together(claims[:1]):
            pass
        with finishing_together(claims[1:]):
            raise error

    kind(together=together, at_once=5)
    assert not drain("test")
    assert [again(scan).due_at for scan in scans] == [None, None, None]
    assert [again(scan).attempts for scan in scans] == [0, 0, 0]


def test_a_kind_that_does_not_spread_rests_before_more_but_not_before_the_first(
    tenant: Tenant,
) -> None:
    for _ in range(3):
        waiting(tenant)
    began: list[float] = []

    def work(held: Claim[Scan]) -> None:
        began.append(time.monotonic())
        time.sleep(0.1)
        finish(held)

    kind(work, spreads=False, at_once=5)
    asked = time.monotonic()
    drain("test")
    assert began[0] - asked < 0.2
    assert all(later - earlier >= 0.3 for earlier, later in itertools.pairwise(began))
    waiting(tenant)
    drain("test")
    assert began[3] - began[2] >= 0.3, "an earlier turn counts too"


def test_threads_go_on_while_one_row_is_slow(tenant: Tenant) -> None:
    slow, quick = waiting(tenant), [waiting(tenant) for _ in range(20)]
    again(slow, due_at=Now() - dt.timedelta(hours=1))
    released = threading.Event()

    def work(held: Claim[Scan]) -> None:
        if held.row.pk == slow.pk:
            released.wait(10)
        finish(held)

    kind(work, threads=3)
    assert drain("test") is False
    assert all(again(scan).due_at is None for scan in quick)
    assert again(slow).due_at is not None
    released.set()
    assert due.wait_for_threads(10)
    assert again(slow).due_at is None


def test_a_drain_ends_while_all_its_threads_hang(tenant: Tenant) -> None:
    scans = [waiting(tenant) for _ in range(4)]
    released = threading.Event()

    def work(held: Claim[Scan]) -> None:
        released.wait(10)
        finish(held)

    kind(work, threads=2)
    began = time.monotonic()
    assert drain("test") is False, "this process can do no more of it now"
    first = time.monotonic() - began
    assert drain("test") is False
    assert first < 2
    assert time.monotonic() - began - first < 0.2, "nothing is waited for that is known to hang"
    assert [again(scan).attempts for scan in scans] == [1, 1, 0, 0]
    released.set()
    assert due.wait_for_threads(10)
    drain("test")
    assert all(again(scan).due_at is None for scan in scans)


def test_kinds_have_threads_of_their_own(tenant: Tenant) -> None:
    hanging, other = waiting(tenant, scope="all"), waiting(tenant, scope="active")
    released = threading.Event()

    def hang(held: Claim[Scan]) -> None:
        released.wait(10)
        finish(held)

    kind(hang, only=models.Q(scope="all"), threads=2)
    register_kind(Kind("other", model=Scan, work=finish, only=models.Q(scope="active"), threads=2))
    drain("test")
    drain("other")
    assert again(other).due_at is None
    released.set()
    assert due.wait_for_threads(10)
    assert again(hanging).due_at is None


def test_threads_are_waited_for_no_longer_than_asked(tenant: Tenant) -> None:
    waiting(tenant)
    released = threading.Event()

    def work(held: Claim[Scan]) -> None:
        released.wait(10)
        finish(held)

    kind(work, threads=2)
    drain("test")
    assert not due.wait_for_threads(0.05)
    released.set()
    assert due.wait_for_threads(10)


def test_a_report_that_fails_stops_neither_the_row_nor_the_kind(tenant: Tenant) -> None:
    first, second, good = waiting(tenant), waiting(tenant), waiting(tenant)
    for scan in (first, second):
        again(scan, attempts=MAX_ATTEMPTS)

    def broken(row: Scan) -> None:
        raise ValueError("no way to tell")

    kind(on_quarantine=broken, at_once=5)
    drain("test")
    assert again(first).quarantined_at is not None
    assert again(second).quarantined_at is not None
    assert again(good).due_at is None


def test_the_report_knows_the_error_that_was_the_last(tenant: Tenant) -> None:
    waiting(tenant)
    errors = iter(["first", "second", "third", "fourth", "fifth"])
    told: list[str] = []

    def fail(held: Claim[Scan]) -> None:
        raise ValueError(next(errors))

    kind(fail, on_quarantine=lambda row: told.append(row.last_error), rest=lambda attempts: -PAST)
    drain("test")
    assert told == ["ValueError: fifth"]


def test_a_worker_that_ends_lets_its_threads_finish(
    monkeypatch: pytest.MonkeyPatch, tenant: Tenant
) -> None:
    reader, writer = os.pipe()

    def slow(held: Claim[Scan]) -> None:
        time.sleep(0.5)
        os.write(writer, b"done")

    monkeypatch.setattr(due, "_do", slow)
    threaded = kind(threads=2)

    def work() -> None:
        due._crew_of(threaded).begin(Claim(threaded, Scan(tenant=tenant)))

    worker = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    worker.start()
    worker.join(20)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        assert said.read() == b"done"


def ask_for_deletion(tenant: Tenant) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(deletion_requested_at=Now())


@pytest.mark.parametrize("rest", [suspend, ask_for_deletion])
def test_rows_of_a_tenant_that_is_suspended_or_deleted_rest(
    tenant: Tenant, rest: Callable[[Tenant], None]
) -> None:
    resting = waiting(tenant)
    awake = waiting(make_tenant("awake"))
    rest(tenant)
    assert [held.row.pk for held in claim(kind(at_once=5))] == [awake.pk]
    assert again(resting).attempts == 0


def test_they_go_on_when_it_is_resumed(tenant: Tenant) -> None:
    scan = waiting(tenant)
    kind()
    suspend(tenant)
    assert drain("test") is False
    assert again(scan).due_at is not None
    resume(tenant)
    drain("test")
    assert again(scan).due_at is None


def test_what_was_claimed_before_is_not_begun_but_what_was_done_is_recorded(
    tenant: Tenant,
) -> None:
    waiting(tenant)
    [held] = claim(kind())
    suspend(tenant)
    with pytest.raises(LeaseLostError), held.holding():
        pytest.fail("it was begun")
    with held.finishing() as row:
        row.issues_found = 1
        row.save(update_fields=["issues_found"])
    assert again(held.row).issues_found == 1
