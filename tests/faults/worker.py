"""Kills and stops of what works beside the web, under load (research: rows 10 and 11)."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from config.supervisor import CLUSTERS
from tests.config.trees import PATIENCE, kill, wait_for
from tests.faults.ledger import Ledger, load
from tests.faults.processes import lives, parts_of_cluster
from tests.faults.product import LEASE_SECONDS, PACE, Audit, Product, product
from tests.faults.trials import NOTHING_WRONG, Outcome, Trial, mutant

SENDERS, REST_SECONDS, ACKNOWLEDGED = 4, 0.05, 50
IN_A_CLUSTER = 7  # watchdog, main process, sentinel, two workers, monitor, pusher
# What no pace shortens: processes that start, on a machine that is busy with the load.
START_SECONDS = 20.0
RESCUED_SECONDS = 120.0
SIZES = f"{SENDERS} connections, PACE {PACE:g}"


def victim_of(running: Product, part: str) -> int:
    """A living process of this part; of clusters any."""
    if part == "worker that folds":
        return running.pids("run_worker")[0]
    if part == "tick":
        return running.pids("run_tick")[0]
    pids = parts_of_cluster(watchdog(running, random.choice(CLUSTERS)))
    return random.choice([pid for name, pid in pids.items() if name.startswith(part)])


def watchdog(running: Product, cluster: str) -> int:
    """The process that watches a cluster, and is its parent."""
    return running.pids("run_cluster", cluster)[0]


def is_whole(running: Product) -> bool:
    """Whether each part is there with all its processes."""
    return all(running.pids(command) for command in ("run_worker", "run_tick")) and all(
        running.pids("run_cluster", name)
        and len(parts_of_cluster(watchdog(running, name))) == IN_A_CLUSTER
        for name in CLUSTERS
    )


def resumed_seconds(pace: float) -> float:
    """How long work may wait for what was killed."""
    return pace * LEASE_SECONDS + START_SECONDS


def kills_under_load(parts: Sequence[str], *, pace: float = PACE, name: str = "") -> Outcome:
    """A kill of each of these parts, which have much to do. `name` is a mutant's."""
    ledger = Ledger(rest=REST_SECONDS)
    with at_work(pace, name) as running:
        with load(ledger, running.port, running.token, SENDERS):
            resumed = [kill_once(running, ledger, part, pace) for part in parts]
        outcome = Audit(running, ledger).outcome()
    return Outcome(outcome.tally, {"s until all is done": round(max(resumed), 1)}, outcome.faults)


@contextmanager
def at_work(pace: float, name: str = "") -> Iterator[Product]:
    """A product with all its parts."""
    with product(mutant=name, pace=pace) as running:
        wait_for(lambda: is_whole(running), PATIENCE, "all parts started")
        yield running


def kill_once(running: Product, ledger: Ledger, part: str, pace: float) -> float:
    """Kill it in the midst of chores; the seconds until all was done that there was to do then."""
    ledger.goes_on(ACKNOWLEDGED)
    before = {
        pid for name in CLUSTERS for pid in parts_of_cluster(watchdog(running, name)).values()
    }
    running.add_chores(30, seconds=0.05)
    time.sleep(random.uniform(0, 0.5))
    kill(victim_of(running, part))
    killed = time.monotonic()
    running.wait_until_all_work(resumed_seconds(pace))
    running.wait_until_nothing_is_left(resumed_seconds(pace))
    resumed = time.monotonic() - killed
    wait_for(lambda: is_whole(running), resumed_seconds(pace), "all parts are back")
    after = {pid for name in CLUSTERS for pid in parts_of_cluster(watchdog(running, name)).values()}
    orphans = {pid for pid in before - after if lives(pid)}
    assert orphans == set(), "processes of a group that was given up live on"
    return resumed


# --- zombies --------------------------------------------------------------------------------------
def zombies(number: int, *, pace: float = PACE, name: str = "") -> Outcome:
    """Workers that sleep longer than their lease, and go on: what they do then must not count."""
    ledger = Ledger(rest=REST_SECONDS)
    with at_work(pace, name) as running:
        with load(ledger, running.port, running.token, SENDERS):
            done = [zombie(running, pace) for _ in range(number)]
        outcome = Audit(running, ledger).outcome()
    refused = sum(times == 1 for times in done)
    return Outcome({"commits refused": refused, **outcome.tally}, faults=outcome.faults)


def zombie(running: Product, pace: float) -> int:
    """How often the chore of a worker that slept was done."""
    for _ in range(3):
        # A watchdog may take the cluster with the stopped worker for a stuck one.
        with suppress(ProcessLookupError):
            return _zombie(running, pace)
    raise AssertionError("watchdogs ended every zombie")


def _zombie(running: Product, pace: float) -> int:
    [chore] = running.add_chores(1, seconds=max(1.0, 10 * pace))

    def look() -> tuple[int, int, int]:
        [row] = running.query("SELECT begun, done, worker FROM faults_chore WHERE id = %s", chore)
        return row

    wait_for(lambda: look()[0] == 1, PATIENCE, "somebody began")
    sleeper = look()[2]
    os.kill(sleeper, signal.SIGSTOP)
    begun = time.monotonic()
    try:
        wait_for(lambda: look()[1] == 1, 2 * resumed_seconds(pace), "somebody else did it")
        time.sleep(max(0.0, begun + 1.5 * LEASE_SECONDS * pace - time.monotonic()))
    finally:
        os.kill(sleeper, signal.SIGCONT)
    time.sleep(max(2.0, 20 * pace))
    return look()[1]


# --- rows of the dead -----------------------------------------------------------------------------
def stuck_rows(number: int) -> Outcome:
    """Rows whose holders all died just now, more of them than one look claims."""
    ledger = Ledger()
    with at_work(1.0) as running:
        running.query(
            "INSERT INTO faults_chore (tenant_id, due_at, leased_until, attempts, fence)"
            " SELECT id, clock_timestamp(), clock_timestamp() + make_interval(secs => %s), 1, 1"
            " FROM tenants_tenant, generate_series(1, %s)",
            LEASE_SECONDS,
            number,
        )
        begun = time.monotonic()
        wait_for(lambda: is_all_done(running), RESCUED_SECONDS, "all rows rescued")
        seconds = round(time.monotonic() - begun, 1)
        outcome = Audit(running, ledger).outcome()
    return Outcome(outcome.tally, {"s until all are rescued": seconds}, outcome.faults)


def is_all_done(running: Product) -> bool:
    """Whether no chore is left."""
    return not running.query("SELECT 1 FROM faults_chore WHERE done = 0 LIMIT 1")


def of_part(part: str, times: int) -> Trial:
    """Kills of one part."""
    return Trial(
        f"row 10: kill -9 of the {part} under load",
        f"{NOTHING_WRONG}; each chore done once, all done within {resumed_seconds(PACE):g} s",
        lambda number: kills_under_load([part] * number),
        times=times, at_once=20, quick=1, sizes=SIZES,
    )  # fmt: skip


PARTS = ("worker", "pusher", "monitor", "sentinel", "tick")

TRIALS = (
    *(of_part(part, 40) for part in PARTS),
    of_part("worker that folds", 20),
    Trial(
        "row 10: kill -9 of each of these once, at the times of real life",
        f"{NOTHING_WRONG}; each chore done once, all done within {resumed_seconds(1.0):g} s",
        lambda _: kills_under_load([*PARTS, "worker that folds"], pace=1.0),
        times=6, at_once=6, quick=0,
    ),
    Trial(
        "row 11: workers stopped for 9 s, their lease being 6 s, then going on",
        "each commit refused, each chore done once",
        zombies,
        times=50, at_once=25, quick=0, what="zombies", sizes=SIZES,
    ),
    Trial(
        "row 11: a worker stopped for 90 s, at the times of real life",
        "its commit refused, the chore done once",
        lambda number: zombies(number, pace=1.0),
        times=1, at_once=1, quick=0, what="zombies",
    ),
    Trial(
        "row 11: 1,001 rows whose holders died, at the times of real life",
        f"each done once, all within {RESCUED_SECONDS:g} s",
        stuck_rows,
        times=1_001, at_once=1_001, quick=0, what="rows",
    ),
    mutant("claims without fences", lambda: zombies(1, name="no-fence"), sees="not done once"),
    mutant(
        "events taken before they are told",
        lambda: kills_under_load(["tick"] * 10, name="take-then-tell"),
        sees="not told on once",
    ),
    mutant(
        "wake-ups that count as heard when they are sent",
        lambda: kills_under_load(["worker"] * 8, name="wake-once"),
        sees="all parts work",
    ),
)  # fmt: skip
