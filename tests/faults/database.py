"""PostgreSQL killed, stopped, hanging and away for long, under load (research: row 9)."""

from __future__ import annotations

import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psycopg

from tests.config.trees import PATIENCE, kill, wait_for
from tests.faults.ledger import Call, Ledger, load
from tests.faults.product import LEASE_SECONDS, Audit, Product, product
from tests.faults.trials import NOTHING_WRONG, Outcome, Trial, mutant

SENDERS, REST_SECONDS, ACKNOWLEDGED, PAUSE_SECONDS = 8, 0.05, 200, 0.5
SIZES = f"{SENDERS} connections"
# Slower than elsewhere: at a tenth, a tick that waits six seconds for the database is ended.
PACE = 0.5
# The limits of QUICKLY, and of answers when all hangs.
ANSWER_SECONDS, LIVE_SECONDS, INGEST_SECONDS, WORK_SECONDS = 1.0, 1.0, 5.0, 30.0
HANGING_SECONDS = 15.0
# After the lease of what was under way.
RESUMED_SECONDS = 10.0

Way = Callable[[Product], None]


# --- ways to take the database away; they return when it is back -----------------------------------
def kill_postmaster(running: Product) -> None:
    """kill -9 of the main process; the others notice and end."""
    with all_sessions_end(running):
        kill(running.postmaster())


def kill_backend(running: Product) -> None:
    """kill -9 of one that serves a connection; PostgreSQL ends the others and recovers."""
    backends = running.query(
        "SELECT pid FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    with all_sessions_end(running):
        kill(random.choice(backends)[0])


def stop_immediately(running: Product) -> None:
    """`pg_ctl stop -m immediate`: a crash on purpose."""
    with all_sessions_end(running):
        os.kill(running.postmaster(), signal.SIGQUIT)


def restart(running: Product) -> None:
    """`pg_ctl restart`: sessions are ended, a checkpoint is written."""
    with all_sessions_end(running):
        os.kill(running.postmaster(), signal.SIGINT)


def away_for(seconds: float) -> Way:
    """Nobody starts it again for so long."""

    def stay_away(running: Product) -> None:
        [guard] = running.pids("config.postgres.guard")
        with all_sessions_end(running), stopped([guard]):
            kill(running.postmaster())
            time.sleep(seconds)

    return stay_away


def hanging_for(seconds: float) -> Way:
    """All its processes are stopped, and nobody hears anything of it."""

    def hang(running: Product) -> None:
        with stopped(running.postgres()):
            time.sleep(seconds)

    return hang


@contextmanager
def all_sessions_end(running: Product) -> Iterator[None]:
    """Afterwards wait until the database is away, and back."""
    with running.connect() as witness:
        yield
        wait_for(lambda: not answers(witness), PATIENCE, "all sessions ended")
    wait_for(lambda: takes_connections(running), PATIENCE, "the database takes connections")


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Nobody of these does anything meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def answers(connection: psycopg.Connection) -> bool:
    """Whether the session of a connection lives."""
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


def takes_connections(running: Product) -> bool:
    """Whether somebody who comes now gets in."""
    try:
        running.connect().close()
    except psycopg.OperationalError:
        return False
    return True


# --- what happens then ----------------------------------------------------------------------------
@dataclass
class Watch:
    """What was measured of each time that the database was away."""

    running: Product
    ledger: Ledger
    hangs: bool
    ended: set[int] = field(default_factory=set)
    until_ingest: list[float] = field(default_factory=list)
    until_work: list[float] = field(default_factory=list)
    until_resumed: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)

    @property
    def most_until_resumed(self) -> float:
        """Claims of the moment before end with their lease."""
        return self.running.pace * LEASE_SECONDS + RESUMED_SECONDS

    def go_through(self, way: Way) -> None:
        """Take the database away; return when everything works again, or raise."""
        self.ledger.goes_on(ACKNOWLEDGED, PAUSE_SECONDS)
        self.running.add_chores(20, seconds=0.02)
        before = self.running.supervised()
        way(self.running)
        back = time.monotonic()
        self.ledger.goes_on(ACKNOWLEDGED, patience=WORK_SECONDS)
        self.running.wait_until_all_work(WORK_SECONDS)
        self.until_work.append(time.monotonic() - back)
        self.running.wait_until_nothing_is_left(self.most_until_resumed)
        self.until_resumed.append(time.monotonic() - back)
        # Longer than posts may take, so that one that is refused later is seen.
        time.sleep(max(0.0, back + INGEST_SECONDS + 0.5 - time.monotonic()))
        self.until_ingest.append(seconds_until_ingest(self.ledger.calls, back))
        self.ended |= before - self.running.supervised()

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Ask meanwhile, again and again, whether the web lives."""
        end = threading.Event()

        def probe() -> None:
            anew = httpx.Limits(max_keepalive_connections=0)
            with httpx.Client(timeout=PATIENCE, verify=False, limits=anew) as client:
                while not end.wait(0.3):
                    begun = time.monotonic()
                    answer = client.get(f"{self.running.url}/health/live")
                    seconds = time.monotonic() - begun
                    self.live.append(seconds if answer.status_code == 200 else math.inf)

        with ThreadPoolExecutor(1) as pool:
            probing = pool.submit(probe)
            try:
                yield
            finally:
                end.set()
            probing.result()

    def outcome(self) -> Outcome:
        """What was measured, and what was not as it must be."""
        refusals = [call for call in self.ledger.calls if not is_taken(call)]
        unclear = [
            call for call in refusals if (call.status, bool(call.retry_after)) != (503, True)
        ]
        if self.hangs:
            answers = ("s at most until an answer", HANGING_SECONDS, self.ledger.calls)
        else:
            answers = ("s at most until a 503", ANSWER_SECONDS, refusals)
        word, limit, calls = answers
        measured = [
            (word, limit, [call.seconds for call in calls]),
            ("s at most until /health/live", LIVE_SECONDS, self.live),
            ("s until posts are taken", INGEST_SECONDS, self.until_ingest),
            ("s until all parts work", WORK_SECONDS, self.until_work),
            ("s until what was under way is done", self.most_until_resumed, self.until_resumed),
        ]
        most = {word: longest(seconds) for word, _, seconds in measured}
        late = [f"{most[word]:g} {word}" for word, limit, _ in measured if most[word] > limit]
        faults = []
        if unclear:
            statuses = sorted({call.status for call in unclear})
            faults.append(f"{len(unclear)} answers other than 503 with Retry-After: {statuses}")
        if self.ended and not self.hangs:
            faults.append(f"{len(self.ended)} processes ended")
        return Outcome({"answers of 503": len(refusals)}, most, faults, late)


def is_taken(call: Call) -> bool:
    """Whether an answer acknowledges."""
    return call.status in (200, 201)


def seconds_until_ingest(calls: list[Call], back: float) -> float:
    """From when the database was back to the first answer that acknowledges, or the last other one."""
    later = [call for call in calls if call.ended > back]
    first = min(call.ended for call in later if is_taken(call))
    return max([first, *(call.ended for call in later if not is_taken(call))]) - back


def longest(seconds: list[float]) -> float:
    """In tenths of a second."""
    return round(max(seconds, default=0.0), 1)


def under_load(
    way: Way, number: int, *, name: str = "", pace: float = PACE, hangs: bool = False
) -> Outcome:
    """Take the database away so often while senders send. `name` is a mutant's.

    When it `hangs` it can't be known at once that it is away, and a tick that hangs with it for a
    minute is ended by the kernel and started again.
    """
    ledger = Ledger(rest=REST_SECONDS)
    with product(mutant=name, pace=pace) as running:
        watch = Watch(running, ledger, hangs=hangs)
        with load(ledger, running.port, running.token, SENDERS), watch.probing():
            for _ in range(number):
                watch.go_through(way)
        seen, found = watch.outcome(), Audit(running, ledger).outcome()
    faults = [*seen.faults, *found.faults]
    return Outcome({**found.tally, **seen.tally}, seen.most, faults, seen.late)


def with_way(line: str, way: Way) -> Trial:
    """A way that takes it away for a moment."""
    return Trial(
        f"row 9: {line}, under load",
        f"{NOTHING_WRONG}; {QUICKLY}; no other process ends",
        lambda number: under_load(way, number),
        times=20, at_once=10, quick=1, what="times", sizes=f"{SIZES}, PACE {PACE:g}",
    )  # fmt: skip


def long_outage(seconds: float) -> Outcome:
    """At the times of real life."""
    return under_load(away_for(seconds), 1, pace=1.0)


def hanging(number: int, seconds: float) -> Outcome:
    """At the times of real life."""
    return under_load(hanging_for(seconds), number, pace=1.0, hangs=True)


WORK_GOES_ON = "all parts at work within 30 s, what was under way when its lease ends"
QUICKLY = f"503 with Retry-After within 1 s, posts within 5 s, {WORK_GOES_ON}"
SLOWLY = f"/health/live within 1 s, answers within 15 s, posts within 5 s, {WORK_GOES_ON}"

TRIALS = (
    with_way("PostgreSQL's main process killed with -9", kill_postmaster),
    with_way("a process of a connection killed with -9", kill_backend),
    with_way("pg_ctl stop -m immediate, and start", stop_immediately),
    with_way("pg_ctl restart", restart),
    Trial(
        "row 9: all processes of PostgreSQL stopped for 60 s (they hang)",
        f"{NOTHING_WRONG}; {SLOWLY}",
        lambda number: hanging(number, 60.0),
        times=3, at_once=3, quick=0, what="times", sizes=SIZES,
    ),
    Trial(
        "row 9: all processes of PostgreSQL stopped for 5 s",
        f"{NOTHING_WRONG}; {SLOWLY}",
        lambda number: hanging(number, 5.0),
        times=1, at_once=1, quick=1, what="times", sizes=SIZES,
    ),
    Trial(
        "row 9: the database away for 10 minutes",
        f"{NOTHING_WRONG}; {QUICKLY}; no other process ends",
        lambda _: long_outage(600.0),
        times=1, at_once=1, quick=0, what="times", sizes=SIZES,
    ),
    Trial(
        "row 9: the database away for 10 seconds",
        f"{NOTHING_WRONG}; {QUICKLY}; no other process ends",
        lambda _: long_outage(10.0),
        times=1, at_once=1, quick=1, what="times", sizes=SIZES,
    ),
    mutant(
        "commits are answered before they are on the disk",
        lambda: under_load(kill_postmaster, 2, name="async-commit"),
        sees="lost",
    ),
    mutant(
        "the web keeps connections that broke",
        lambda: under_load(restart, 1, name="keep-broken-connections"),
        sees="posts acknowledged",
    ),
    mutant(
        "the web waits for ever for a database that hangs",
        lambda: under_load(hanging_for(30.0), 1, name="wait-for-ever", pace=1.0, hangs=True),
        sees="until an answer",
    ),
)  # fmt: skip
