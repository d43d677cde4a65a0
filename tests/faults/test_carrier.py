"""kill -9 of every part of the carrier, idle and busy: nothing is lost, done twice or left behind.

`make faults` does each kill 20 times (QUICK=1: twice); times are at a tenth.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from config.home import home_from
from config.postgres.cluster import APP_ROLE, Cluster
from tenants.models import Tenant
from tests.config.trees import wait_for
from tests.database import superuser
from tests.faults.carrier import KILLS, Carrier, longest_silence, query, zombie_outcome
from tests.faults.processes import lives

pytestmark = pytest.mark.processes

IN_A_CLUSTER = ("serve", "sentinel", "pusher", "monitor", "worker 1", "worker 2", "watchdog")
# How long hanging is watched: longer than a cluster may be silent, in a run of all tests shorter.
PATIENCE = 8.0 if KILLS > 1 else 4.0
PARTS = ("tick", *IN_A_CLUSTER)
# In a run of all tests each part dies once, some of them idle.
IDLE = PARTS if KILLS > 1 else ("serve", "monitor", "worker 1")
BUSY = PARTS if KILLS > 1 else tuple(part for part in PARTS if part not in IDLE)


@pytest.fixture(scope="module")
def module_carrier(tenant: Tenant) -> Iterator[Carrier]:
    with Carrier(tenant) as carrier:
        yield carrier


@pytest.fixture
def carrier(module_carrier: Carrier) -> Carrier:
    """All parts at work, nothing to do."""
    module_carrier.forget_work()
    module_carrier.wait_until_whole()
    return module_carrier


def kill_idle(carrier: Carrier, victim: int) -> None:
    """Kill a process while nothing is to be done; afterwards all is done as before."""
    before = carrier.all_pids()
    carrier.kill(victim)
    carrier.add_chores(10)
    carrier.happen(10)
    heal(carrier, before)


def kill_busy(carrier: Carrier, victim: int) -> None:
    """Kill a process while chores and events come in."""
    before = carrier.all_pids()
    for moment in range(8):
        carrier.add_chores(5, seconds=0.05)
        carrier.happen(20)
        if moment == 3:
            time.sleep(random.uniform(0, 0.2))
            carrier.kill(victim)
    heal(carrier, before)


def heal(carrier: Carrier, before: set[int]) -> None:
    carrier.restart_ended()
    carrier.wait_until_done()
    carrier.assert_each_once()
    carrier.wait_until_whole()
    orphans = {pid for pid in before - carrier.all_pids() if lives(pid)}
    assert orphans == set(), "processes of a group that was given up live on"


@pytest.mark.parametrize(
    ("part", "state"),
    [*((part, kill_idle) for part in IDLE), *((part, kill_busy) for part in BUSY)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_whatever_is_killed_everything_is_done_once(
    carrier: Carrier, part: str, state: Callable[[Carrier, int], None]
) -> None:
    for _ in range(KILLS):
        if part == "tick":
            victim = carrier.leading_tick()
        else:
            victim = carrier.cluster_pids(random.choice(carrier.clusters))[part]
        state(carrier, victim)
        carrier.forget_work()


def test_a_zombie_is_refused(carrier: Carrier) -> None:
    assert zombie_outcome(carrier) == (2, 1), "begun by two workers, done by one"


def test_work_that_hangs_in_threads_holds_no_worker(carrier: Carrier) -> None:
    restarts = query("SELECT sum(restarts) FROM scheduling_cluster")
    chore, canary = longest_silence(carrier, PATIENCE)
    assert chore < 2, "other kinds are worked on as ever"
    assert canary < 2, "each cluster shows that it works"
    assert query("SELECT sum(restarts) FROM scheduling_cluster") == restarts


def test_a_leader_that_is_stopped_leads_no_longer(carrier: Carrier) -> None:
    stopped = carrier.leading_tick()
    os.kill(stopped, signal.SIGSTOP)
    try:
        wait_for(lambda: carrier.leading_tick() not in (0, stopped), 15, "another leads")
        carrier.add_chores(5)
        carrier.happen(5)
        carrier.wait_until_done()
    finally:
        os.kill(stopped, signal.SIGCONT)
    carrier.happen(5)
    heal(carrier, set())


@pytest.mark.skipif(KILLS == 1, reason="takes long: make faults")
def test_an_event_that_hangs_for_ever_is_given_up(carrier: Carrier) -> None:
    """The kernel ends the relay each time; another one finds out which event it was."""
    query(
        "INSERT INTO monitoring_event (tenant_id, created_at, kind, body)"
        """ VALUES (%s, clock_timestamp(), 'fault', '{"n": -1}')""",
        carrier.tenant.pk,
    )
    carrier.happen(3)

    def given_up() -> bool:
        carrier.restart_ended()
        return bool(query("SELECT 1 FROM scheduling_delivery WHERE quarantined_at IS NOT NULL"))

    try:
        wait_for(given_up, 100, "quarantined")
        carrier.wait_until_done()
        assert sorted(n for (n,) in query("SELECT event FROM faults_told")) == [0, 1, 2]
    finally:
        query("DELETE FROM scheduling_delivery")


def test_a_whole_group_that_is_killed_with_its_watchdog_leaves_nothing(carrier: Carrier) -> None:
    before = carrier.all_pids()
    pids = carrier.cluster_pids("a")
    os.kill(pids["serve"], signal.SIGSTOP)
    carrier.kill(pids["watchdog"])
    carrier.kill(pids["serve"])
    wait_for(lambda: not any(lives(pid) for pid in pids.values()), 5, "all ended")
    carrier.add_chores(10)
    heal(carrier, before)


def test_the_database_may_be_away(carrier: Carrier, tenant: Tenant) -> None:
    """All sessions end at once, three times: nobody has to be started again."""
    before = carrier.all_pids()
    for _ in range(3):
        carrier.add_chores(10, seconds=0.02)
        carrier.happen(20)
        with superuser(Cluster(home_from(os.environ)), "postgres") as admin:
            # Of this database only: other tests run beside this one.
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = %s AND datname = %s AND pid <> %s"
                " AND application_name <> 'tests'",
                [
                    APP_ROLE,
                    connection.settings_dict["NAME"],
                    connection.connection.info.backend_pid,
                ],
            )
    carrier.wait_until_done()
    carrier.assert_each_once()
    carrier.wait_until_whole()
    watchdogs = {part.process.pid for part in carrier.parts.values()}
    assert watchdogs <= before, "no command ended"
