"""Complete requests that wait for a thread: in lanes that take turns, and none of them for long.

What waits in one lane does not hold up another: while senders push three times what can be stored,
people still open pages. Load balancers that ask whether the process lives have a thread of their own, as
all others may hang in the database. What would wait too long, judged by
what others have just waited, is refused at once.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final, Generic, Protocol, TypeVar

LIVE: Final = "/health/live"
LEAST: Final = 32
MOST: Final = 512
"""Requests that may wait in one lane; up to the least number nobody is refused for a short stall."""


class Lane(enum.Enum):
    """Who waits: who asks whether the process lives, senders of executions, all others."""

    PROBES = "probes"
    PUSHES = "pushes"
    OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds. Who would wait `full` is not let in; who has waited `longest` is sent away."""

    full: float
    longest: float


BOUNDS: Final = {
    Lane.PROBES: Bounds(full=5.0, longest=10.0),
    # Senders repeat by themselves, and hear of each success within a second.
    Lane.PUSHES: Bounds(full=0.3, longest=1.0),
    Lane.OTHERS: Bounds(full=2.0, longest=10.0),
}
_LOOK_SECONDS: Final = 0.1
_NEWEST: Final = 0.05  # the weight of one wait in what we know of the lane's pace


def lane_of(path: str, method: str) -> Lane:
    """The lane of a request."""
    if path == LIVE:
        return Lane.PROBES
    is_push = method == "POST" and path.startswith(("/api/", "/v1/"))
    return Lane.PUSHES if is_push else Lane.OTHERS


class Job(Protocol):
    """A request that waits: since when (`time.monotonic`), and behind how many others."""

    lane: Lane
    since: float
    ahead: int


J = TypeVar("J", bound=Job)


class _Queue(Generic[J]):
    """The requests of one lane, and the seconds in which it has lately moved up by one."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.jobs: deque[J] = deque()
        self.pace = 0.0

    def is_full(self) -> bool:
        number = len(self.jobs)
        if number < LEAST:
            return False
        if number >= MOST or number * self.pace > self.bounds.full:
            return True
        try:
            # Where nothing moves at all there is no pace to learn.
            return time.monotonic() - self.jobs[0].since > self.bounds.full
        except IndexError:
            return False

    def take(self) -> J:
        """The first one; there is one."""
        job = self.jobs.popleft()
        waited = time.monotonic() - job.since
        self.pace += _NEWEST * (waited / (job.ahead + 1) - self.pace)
        return job


class Waiting(Generic[J]):
    """What waits in some lanes. Filled and looked through on one event loop, emptied by threads.

    `refuse` is called there with what has waited too long.
    """

    def __init__(self, refuse: Callable[[J], None], *lanes: Lane) -> None:
        self._refuse = refuse
        self._lanes: dict[Lane, _Queue[J]] = {lane: _Queue(BOUNDS[lane]) for lane in lanes}
        self._turns = itertools.cycle(self._lanes.values())
        # Who takes a job out holds this: else a thread that looks at one lane after the other could miss
        # all that waits, and its call would be lost to the job that it was for.
        self._taking = threading.Lock()
        # One for each job that was ever added: threads wait for these.
        self._calls: SimpleQueue[None] = SimpleQueue()
        self._timer: asyncio.TimerHandle | None = None

    def is_full(self, lane: Lane) -> bool:
        """Whether a request that comes now would wait too long."""
        return self._lanes[lane].is_full()

    def add(self, job: J, loop: asyncio.AbstractEventLoop) -> None:
        """Let it wait for a thread."""
        jobs = self._lanes[job.lane].jobs
        job.ahead = len(jobs)
        jobs.append(job)
        self._calls.put(None)
        if self._timer is None:
            self._timer = loop.call_later(_LOOK_SECONDS, self._look, loop)

    def take(self) -> J | None:
        """The next one, of each lane in turn; None: it was refused meanwhile. Waits for it."""
        self._calls.get()
        with self._taking:
            for _ in self._lanes:
                queue = next(self._turns)
                if queue.jobs:
                    return queue.take()
        return None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Refuse who waited too long."""
        for queue in self._lanes.values():
            while job := self._old_one(queue):
                self._refuse(job)
        is_empty = not any(queue.jobs for queue in self._lanes.values())
        self._timer = None if is_empty else loop.call_later(_LOOK_SECONDS, self._look, loop)

    def _old_one(self, queue: _Queue[J]) -> J | None:
        """Take out the first one if it has waited too long."""
        oldest = time.monotonic() - queue.bounds.longest
        with self._taking:
            is_old = queue.jobs and queue.jobs[0].since <= oldest
            return queue.jobs.popleft() if is_old else None
