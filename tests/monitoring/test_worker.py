"""The worker's loop: one leads, failures pass, and it ends when told."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.utils import timezone

from config.postgres.cluster import APP_ROLE
from monitoring.models import RollupDelta
from monitoring.worker import LEADER_LOCK, PeriodicJob, Worker, is_led, periodic, periodic_jobs
from tenants.scoping import across_tenants
from tests.database import database_url
from tests.monitoring.counted import message, record
from tests.monitoring.factories import make_environment, make_tenant, make_workflow

pytestmark = pytest.mark.django_db(transaction=True)

EACH_SECOND = dt.timedelta(seconds=1)


def job(run: Callable[[], bool], every: dt.timedelta = EACH_SECOND) -> PeriodicJob:
    return PeriodicJob("test", every, run)


class Clock:
    """A clock that waiting moves, so that hours pass at once."""

    def __init__(self, stop_after: float) -> None:
        self.now, self.end = 0.0, stop_after

    def __call__(self) -> float:
        return self.now

    def stop_event(self) -> threading.Event:
        clock = self

        class Stop(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                clock.now += timeout or 0
                if clock.now >= clock.end:
                    self.set()
                return self.is_set()

        return Stop()


def test_jobs_are_done_when_they_are_due() -> None:
    clock = Clock(stop_after=3600)
    done: dict[str, list[float]] = {"often": [], "rarely": []}

    def note(name: str) -> bool:
        done[name].append(clock.now)
        return False

    Worker(
        clock.stop_event(),
        [
            job(lambda: note("often"), dt.timedelta(minutes=10)),
            job(lambda: note("rarely"), dt.timedelta(minutes=30)),
        ],
        clock,
    ).run()
    assert done == {"often": [0, 600, 1200, 1800, 2400, 3000], "rarely": [0, 1800]}


def test_a_job_may_rest_as_many_times_as_long_as_it_took_up_to_ten_seconds() -> None:
    clock, began = Clock(stop_after=100), []

    def work() -> bool:
        began.append(clock.now)
        clock.now += 60 if len(began) == 3 else 2
        return False

    resting = PeriodicJob("test", EACH_SECOND, work, rests=4.0)
    Worker(clock.stop_event(), [resting], clock).run()
    assert began == [0, 10, 20, 90]


def test_a_job_that_fails_rests_longer_each_time_and_no_other_waits_for_it() -> None:
    clock, tried, done = Clock(stop_after=20), [], []

    def fail() -> bool:
        tried.append(clock.now)
        if len(tried) == 5:
            return False
        raise ValueError("again")

    def note() -> bool:
        done.append(clock.now)
        return False

    Worker(clock.stop_event(), [job(fail), job(note)], clock).run()
    assert tried == [0, 1, 3, 7, 15, 16, 17, 19], "from the beginning after a success"
    assert done == list(range(20))


def test_a_job_with_more_to_do_goes_on_and_others_get_their_turn() -> None:
    clock = Clock(stop_after=1)
    order: list[str] = []

    def long_job() -> bool:
        order.append("long")
        return order.count("long") < 3

    def short_job() -> bool:
        order.append("short")
        return False

    Worker(clock.stop_event(), [job(long_job), job(short_job)], clock).run()
    assert order == ["long", "short", "long", "long"]


def test_a_failing_job_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(stop_after=3)
    tries: list[float] = []

    def fail() -> bool:
        tries.append(clock.now)
        raise RuntimeError("broken on purpose")

    Worker(clock.stop_event(), [job(fail)], clock).run()
    assert tries == [0, 1]
    assert "broken on purpose" in caplog.text


def test_a_lost_database_session_is_replaced() -> None:
    stop = threading.Event()
    runs: list[int] = []

    def lose_the_session() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            runs.append(cursor.fetchone()[0])
            if len(runs) == 1:
                cursor.execute("SELECT pg_terminate_backend(%s)", [runs[0]])
        stop.set()
        return False

    Worker(stop, [job(lose_the_session)]).run()
    assert len(set(runs)) == 2


def test_only_one_leads() -> None:
    url = database_url(APP_ROLE, settings.DATABASES["default"]["NAME"])
    clock = Clock(stop_after=5)
    done: list[int] = []

    def note() -> bool:
        done.append(1)
        return False

    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LEADER_LOCK])
        assert is_led()
        Worker(clock.stop_event(), [job(note)], clock).run()
        assert done == []
    deadline = time.monotonic() + 5
    while is_led() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_led()


def test_a_name_is_given_once() -> None:
    assert {found.name for found in periodic_jobs()} >= {
        "fold deltas",
        "make partitions",
        "delete tenants",
        "clear sessions",
    }
    with pytest.raises(ValueError, match="fold deltas"):
        periodic("fold deltas", every=EACH_SECOND)(lambda: False)


def test_every_job_of_the_app_works() -> None:
    for found in periodic_jobs():
        # On some days of a week the oldest one is past, which takes a few steps to drop.
        assert any(found.run() is False for _ in range(20)), found.name


@pytest.mark.processes
def test_the_process_folds_and_ends_in_order() -> None:
    workflow = make_workflow(make_environment(make_tenant()))
    record(message(workflow, timezone.now()))
    environment = os.environ | {
        "DATABASE_URL": database_url(APP_ROLE, settings.DATABASES["default"]["NAME"])
    }
    process = subprocess.Popen([sys.executable, "manage.py", "run_worker"], env=environment)
    try:
        deadline = time.monotonic() + 30
        with across_tenants():
            while RollupDelta.objects.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not RollupDelta.objects.exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
