"""One small django-q2 cluster and its watchdog (``flowwatch run_cluster NAME``).

The watchdog forks the cluster into a process group of its own, sends it a canary every five seconds
and looks whether it came through: fetched by the pusher, done by a worker, acknowledged by the
monitor. When the cluster ends, or no canary came through for a minute, the watchdog kills the whole
group and starts again. It never asks the cluster how it feels: one whose worker died with a lock of
the queue says that all is well and does nothing more (docs/decisions/0006-carrier.md).

Every process of the cluster watches a pipe to the watchdog, as they may lose their parents in any
order.
"""

import contextlib
import logging
import multiprocessing
import os
import select
import signal
import socket
import threading
import time
from dataclasses import dataclass, field
from multiprocessing import util
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import Error, connections
from django_q.cluster import Cluster

from config.lifeline import Lifeline, SignalPipe
from scheduling import clusters
from scheduling.broker import Wakes, clear_queue

logger = logging.getLogger(__name__)

CANARY_SECONDS: Final = 5.0
STUCK_SECONDS: Final = 60.0
# Less than the supervisor grants the watchdog itself.
STOP_SECONDS: Final = 15.0
LONGEST_PAUSE: Final = 30.0


@dataclass
class Watchdog:
    """Keeps one cluster working until it is told to end."""

    name: str
    signals: SignalPipe = field(default_factory=lambda: SignalPipe(signal.SIGTERM, signal.SIGINT))
    host: str = field(default_factory=socket.gethostname)
    restarts: int = 0
    _cluster: ForkProcess | None = None
    _lifeline: Lifeline | None = None
    _canaries: set[int] = field(default_factory=set)
    _proof: float = 0.0
    _failures: int = 0

    @property
    def queue(self) -> str:
        """The name of the cluster's queue, which no cluster of another host has."""
        return f"{self.name}@{self.host}"

    def run(self) -> None:
        """Watch until TERM or INT; then let the cluster finish what it does."""
        pause = settings.PACE.seconds(CANARY_SECONDS)
        try:
            while not self.signals.asked_to_end:
                if self._cluster is None:
                    self._start()
                self._look()
                self._wait(pause)
                self._judge()
        finally:
            self._stop()

    def _start(self) -> None:
        connections.close_all()  # a connection must not be shared over a fork
        self._lifeline = Lifeline()
        self._cluster = multiprocessing.get_context("fork").Process(
            target=_serve, args=(self.queue, self._lifeline, self.signals), name=self.name
        )
        self._cluster.start()
        self._lifeline.child_started()
        self._canaries = set()
        self._proof = time.monotonic()
        self._entered = False

    def _look(self) -> None:
        """Count the canaries that came through, and send the next."""
        started = time.monotonic()
        try:
            if not self._entered:
                self._enter()
            left = clusters.still_under_way(self._canaries)
            came_through = left != self._canaries
            self._canaries = left | {clusters.send_canary(self.queue)}
            self._entered = clusters.beat(self.queue, finished=came_through)
        except Error as error:  # of the database: it proves nothing about the cluster
            logger.warning("watchdog lost the database", extra={"error": str(error).strip()})
            connections.close_all()
            self._proof = time.monotonic()
            return
        if came_through:
            self._failures = 0
        if came_through or time.monotonic() - started > settings.PACE.seconds(CANARY_SECONDS):
            self._proof = time.monotonic()

    def _enter(self) -> None:
        assert self._cluster is not None
        assert self._cluster.pid is not None
        clear_queue(self.queue)
        clusters.enter(self.queue, self.host, self._cluster.pid, self.restarts)

    def _wait(self, seconds: float) -> None:
        """Until a signal, the end of the cluster, or so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            select.select([self.signals.reader], [], [], left)
            self.signals.drain()
            if self.signals.asked_to_end or not self._lives():
                return

    def _lives(self) -> bool:
        return self._cluster is not None and self._cluster.is_alive()

    def _judge(self) -> None:
        """Kill a cluster that ended in part or does nothing; it is started again after a pause."""
        if self.signals.asked_to_end:
            return
        stuck = time.monotonic() - self._proof > settings.PACE.seconds(STUCK_SECONDS)
        if self._lives() and not stuck:
            return
        pause = min(settings.PACE.seconds(0.5) * 2.0**self._failures, LONGEST_PAUSE)
        logger.error(
            "cluster is started again",
            extra={"cluster": self.queue, "why": "stuck" if stuck else "ended", "pause": pause},
        )
        self._kill()
        self.restarts += 1
        self._failures += 1
        self._wait_unless_told(pause)

    def _wait_unless_told(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.signals.asked_to_end and (left := end - time.monotonic()) > 0:
            select.select([self.signals.reader], [], [], left)
            self.signals.drain()

    def _kill(self) -> None:
        """End every process of the cluster's group."""
        assert self._cluster is not None
        assert self._lifeline is not None
        assert self._cluster.pid is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._cluster.pid, signal.SIGKILL)
        self._cluster.join()
        self._lifeline.cut()
        self._cluster = self._lifeline = None

    def _stop(self) -> None:
        if self._cluster is None:
            return
        self._cluster.terminate()
        self._cluster.join(settings.PACE.seconds(STOP_SECONDS))
        self._kill()
        with contextlib.suppress(Error):
            clusters.leave(self.queue)


# --- inside the cluster ---------------------------------------------------------------------------
def _serve(queue: str, lifeline: Lifeline, signals: SignalPipe) -> None:
    """Be the cluster: its main process, which forks the sentinel, which forks the others."""
    os.setsid()
    signals.forget()
    os.close(lifeline.writer)
    _Follower(lifeline.reader)()
    Cluster(broker=Wakes(list_key=queue)).start()


class _Follower:
    """In the cluster's main process and each that it forks: ends the group with the watchdog."""

    def __init__(self, reader: int) -> None:
        self.reader = reader
        _followers.append(self)
        util.register_after_fork(self, _Follower.__call__)

    def __call__(self) -> None:
        """Begin to watch, and let ``ps`` show which part of the cluster this process is."""
        role = getattr(getattr(multiprocessing.current_process(), "_target", None), "__name__", "")
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(f"q-{role.strip('_').lower()}")
        threading.Thread(target=self._follow, name="lifeline", daemon=True).start()

    def _follow(self) -> None:
        while os.read(self.reader, 1):
            continue
        leader = os.getpgrp()
        if leader == os.getpid():
            os.kill(leader, signal.SIGTERM)
        end = time.monotonic() + settings.PACE.seconds(STOP_SECONDS)
        while _exists(leader) and time.monotonic() < end:
            time.sleep(0.1)
        os.killpg(leader, signal.SIGKILL)


# The registry of multiprocessing only holds weak references.
_followers: list[_Follower] = []


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
