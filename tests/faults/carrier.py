"""The carrier as real processes on the calling test's database: two ticks and two clusters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection

from config.home import SOURCE_ROOT
from config.lifeline import SUPERVISED, Lifeline
from tenants.models import Tenant
from tests.config.trees import kill, wait_for
from tests.faults.processes import descendants, lives, parts_of_cluster
from tests.faults.work import THREADS

PACE = 0.1
# Long enough for: a minute without canary, a new start, and the lease of what the dead had held.
RECOVERY_SECONDS = 30.0
# How often each kill is done; `make faults` sets it.
KILLS = int(os.environ.get("FAULT_KILLS", "1"))
WORKERS = 2
CLUSTER_PROCESSES = 6  # main, sentinel, two workers, monitor, pusher


def query(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """What the database answers."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


@dataclass
class Part:
    """One command, its pipe and its process."""

    arguments: list[str]
    process: subprocess.Popen[bytes]
    lifeline: Lifeline


@dataclass
class Carrier:
    """Starts, kills and counts; `with Carrier(...)` leaves no process behind."""

    tenant: Tenant
    mutant: str = ""
    clusters: tuple[str, ...] = ("a", "b")
    environment: Mapping[str, str] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    happened: int = 0
    # A canary that came through just after a kill says nothing of what was killed.
    disturbed: float = 0.0

    def __enter__(self) -> Carrier:
        self.log = Path(settings.HOME.path) / f"carrier-{os.getpid()}-{time.monotonic_ns()}.log"
        for name in ("tick 1", "tick 2", *(f"cluster {name}" for name in self.clusters)):
            self.start(name)
        try:
            self.wait_until_whole()
        except BaseException:  # also an interrupt: no process tree may be left behind
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        groups = self.all_pids()
        for part in self.parts.values():
            part.lifeline.cut()
        for part in self.parts.values():
            part.process.wait(30)
        wait_for(lambda: not any(map(lives, groups)), 15, "the clusters' processes ended")

    # --- processes --------------------------------------------------------------------------------
    def start(self, name: str) -> None:
        """Start one part: `tick 1`, `cluster a`."""
        command, argument = name.split()
        arguments = ["run_tick"] if command == "tick" else ["run_cluster", argument]
        lifeline = Lifeline()
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "config.cli", *arguments],
                cwd=SOURCE_ROOT,
                env={
                    **os.environ,
                    **lifeline.environment(),
                    SUPERVISED: "1",
                    "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
                    "PACE": str(PACE),
                    "MUTANT": self.mutant,
                    **self.environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lifeline.reader],
                start_new_session=True,
            )
        lifeline.child_started()
        self.parts[name] = Part(arguments, process, lifeline)

    def restart_ended(self) -> None:
        """What a supervisor does."""
        for name, part in list(self.parts.items()):
            if part.process.poll() is not None:
                part.lifeline.cut()
                self.start(name)

    def leading_tick(self) -> int:
        """The process that ticks and relays."""
        rows = query("SELECT pid FROM scheduling_leader WHERE ticked_at > now() - interval '1 s'")
        return int(rows[0][0]) if rows else 0

    def cluster_pids(self, name: str) -> dict[str, int]:
        """The processes of a cluster by their part: serve, sentinel, worker 1, …"""
        return parts_of_cluster(self.parts[f"cluster {name}"].process.pid)

    def all_pids(self) -> set[int]:
        """Every living process of the carrier."""
        return {
            pid
            for part in self.parts.values()
            for pid in [part.process.pid, *descendants(part.process.pid)]
        }

    def is_whole(self) -> bool:
        """Whether somebody leads and every cluster has all its processes and works."""
        fresh = query(
            "SELECT count(*) FROM scheduling_cluster WHERE pid IS NOT NULL AND finished_at >"
            " greatest(now() - interval '1.2 s', to_timestamp(%s))",
            self.disturbed + 1.2,
        )
        return (
            self.leading_tick() in [part.process.pid for part in self.parts.values()]
            and fresh[0][0] == len(self.clusters)
            and all(len(self.cluster_pids(name)) == CLUSTER_PROCESSES + 1 for name in self.clusters)
        )

    def wait_until_whole(self) -> None:
        """Restart what ended, until all parts work."""

        def whole() -> bool:
            self.restart_ended()
            return self.is_whole()

        self._wait_for(whole, RECOVERY_SECONDS + 15, "whole")

    def _wait_for(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        try:
            wait_for(condition, seconds, what)
        except AssertionError as error:
            pids = {name: self.cluster_pids(name) for name in self.clusters}
            raise AssertionError(f"{error}\n{pids}\n{self.log.read_text()[-5000:]}") from None

    # --- work -------------------------------------------------------------------------------------
    def add_chores(
        self, number: int, seconds: float = 0.0, *, is_waiting: bool = False
    ) -> list[int]:
        """Rows that are due now."""
        rows = query(
            "INSERT INTO faults_chore (tenant_id, due_at, seconds, is_waiting)"
            " SELECT %s, clock_timestamp(), %s, %s FROM generate_series(1, %s) RETURNING id",
            self.tenant.pk,
            seconds,
            is_waiting,
            number,
        )
        return [pk for (pk,) in rows]

    def happen(self, number: int) -> None:
        """Events for the relay."""
        query(
            "INSERT INTO monitoring_event (tenant_id, created_at, kind, body)"
            " SELECT %s, clock_timestamp(), 'fault', jsonb_build_object('n', n)"
            " FROM generate_series(%s::int, %s::int) AS n",
            self.tenant.pk,
            self.happened,
            self.happened + number - 1,
        )
        self.happened += number

    def forget_work(self) -> None:
        """Begin anew, with nothing to do."""
        query("DELETE FROM faults_chore")
        query("DELETE FROM faults_told")
        query("DELETE FROM monitoring_event")
        self.happened = 0

    def undone(self) -> int:
        """Chores and events that nobody has taken care of."""
        ((chores,),) = query("SELECT count(*) FROM faults_chore WHERE done = 0")
        ((events,),) = query("SELECT count(*) FROM monitoring_event")
        return int(chores + events)

    def wait_until_done(self) -> None:
        """Until nothing is left to do."""
        self._wait_for(lambda: self.undone() == 0, RECOVERY_SECONDS, "all done")

    def assert_each_once(self) -> None:
        """Every chore done once, every event told once."""
        wrong = query(
            "SELECT id, begun, done, attempts, last_error FROM faults_chore WHERE done <> 1"
        )
        assert wrong == []
        told = sorted(n for (n,) in query("SELECT event FROM faults_told"))
        assert told == list(range(self.happened))

    def kill(self, pid: int) -> None:
        """kill -9."""
        kill(pid)
        self.disturbed = time.time()


def longest_silence(carrier: Carrier, watched: float) -> tuple[float, float]:
    """While all threads of all workers hang: how long chores take at most, and canaries stay out.

    In seconds, over so many seconds that are `watched`.
    """
    threads = len(carrier.clusters) * WORKERS * THREADS
    # Shorter than their lease, so that none is begun by two; enough to keep all threads busy.
    carrier.add_chores(3 * threads, seconds=5.0, is_waiting=True)
    wait_for(lambda: begun_waiting() >= threads, 10, "threads hang")
    longest, silence, end = 0.0, 0.0, time.monotonic() + watched
    while time.monotonic() < end:
        began = time.monotonic()
        [chore] = carrier.add_chores(1)
        while not query("SELECT 1 FROM faults_chore WHERE id = %s AND done = 1", chore):
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        longest = max(longest, time.monotonic() - began)
        [(age,)] = query(
            "SELECT extract(epoch FROM max(clock_timestamp() - finished_at))::float"
            " FROM scheduling_cluster"
        )
        silence = max(silence, age)
    return longest, silence


def begun_waiting() -> int:
    """Chores that threads have begun."""
    [(number,)] = query("SELECT count(*) FROM faults_chore WHERE is_waiting AND begun > 0")
    return int(number)


def zombie_outcome(carrier: Carrier) -> tuple[int, int]:
    """Stop a worker beyond its lease, let it go on: how often its chore was begun, and done."""
    [chore] = carrier.add_chores(1, seconds=1.0)

    def look() -> tuple[int, int, int]:
        [row] = query("SELECT begun, done, worker FROM faults_chore WHERE id = %s", chore)
        return row

    wait_for(lambda: look()[0] == 1, 10, "somebody began")
    zombie = look()[2]
    os.kill(zombie, signal.SIGSTOP)
    try:
        wait_for(lambda: look()[1] == 1, 20, "somebody else did it")
    finally:
        os.kill(zombie, signal.SIGCONT)
    time.sleep(2.0)
    begun, done, _ = look()
    return begun, done
