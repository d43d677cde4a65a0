"""Who waits for a thread, in which order, and who is not let in."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from config.waiting import BOUNDS, LEAST, MOST, Bounds, Lane, Waiting, lane_of


@dataclass
class Request:
    name: str
    lane: Lane = Lane.PUSHES
    since: float = field(default_factory=time.monotonic)
    ahead: int = 0


@pytest.fixture
def loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@pytest.mark.parametrize(
    ("method", "path", "lane"),
    [
        ("GET", "/health/live", Lane.PROBES),
        ("GET", "/health/ready", Lane.OTHERS),
        ("POST", "/api/executions", Lane.PUSHES),
        ("POST", "/v1/executions", Lane.PUSHES),
        ("GET", "/api/executions", Lane.OTHERS),
        ("GET", "/t/acme/", Lane.OTHERS),
        ("POST", "/sign-in/", Lane.OTHERS),
    ],
)
def test_each_request_has_its_lane(method: str, path: str, lane: Lane) -> None:
    assert lane_of(path, method) is lane


def test_lanes_take_turns(loop: asyncio.AbstractEventLoop) -> None:
    waiting: Waiting[Request] = Waiting(lambda job: None, *Lane)
    for number in range(20):
        waiting.add(Request(f"push {number}"), loop)
    waiting.add(Request("page", Lane.OTHERS), loop)
    waiting.add(Request("probe", Lane.PROBES), loop)
    taken = [job.name for _ in range(22) if (job := waiting.take())]
    assert max(taken.index("page"), taken.index("probe")) < 6
    assert [name for name in taken if "push" in name] == [f"push {each}" for each in range(20)]


@pytest.fixture
def nervous() -> Iterator[None]:
    """Threads that are interrupted at nearly every line."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("nervous")
def test_everything_that_waits_is_taken_however_many_threads_look_at_once(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In short lanes, where many look for the same job while the loop looks for who is old."""
    monkeypatch.setitem(BOUNDS, Lane.PUSHES, Bounds(full=60, longest=60))
    waiting: Waiting[Request] = Waiting(lambda job: None, Lane.PUSHES, Lane.OTHERS)
    taken, added = [0] * 8, 0

    def work(number: int) -> None:
        while (job := waiting.take()) is None or job.name != "last":
            taken[number] += job is not None

    threads = [threading.Thread(target=work, args=[each], daemon=True) for each in range(8)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 4
    while time.monotonic() < end:
        for lane in (Lane.PUSHES, Lane.OTHERS, Lane.PUSHES):
            waiting.add(Request("one", lane), loop)
            waiting._look(loop)
            added += 1
        time.sleep(0)
    end = time.monotonic() + 5
    while sum(taken) < added and time.monotonic() < end:
        time.sleep(0.05)
    assert sum(taken) == added
    for _ in threads:
        waiting.add(Request("last"), loop)
    for thread in threads:
        thread.join(10)


def test_a_lane_is_full_when_its_requests_have_lately_moved_too_slowly(
    loop: asyncio.AbstractEventLoop,
) -> None:
    waiting: Waiting[Request] = Waiting(lambda job: None, *Lane)
    number = 0

    def serve(seconds_each: float, requests: int) -> None:
        """Let so many wait behind four others that each took so long."""
        nonlocal number
        for _ in range(requests):
            job = Request(f"{(number := number + 1)}")
            waiting.add(job, loop)
            job.since, job.ahead = time.monotonic() - 5 * seconds_each, 4
            waiting.take()

    def most() -> int:
        """How many are let in now, of a burst."""
        jobs = 0
        while not waiting.is_full(Lane.PUSHES):
            waiting.add(Request("burst"), loop)
            jobs += 1
        for _ in range(jobs):
            waiting._lanes[Lane.PUSHES].jobs.pop()
            waiting._calls.get()
        return jobs

    full = BOUNDS[Lane.PUSHES].full
    assert most() == MOST, "nothing is known yet, and the number is bounded"
    serve(0.002, 200)
    assert most() == pytest.approx(full / 0.002, rel=0.2)
    serve(0.1, 200)
    assert most() == LEAST, "a few are always let in"
    serve(0.0001, 200)
    assert most() == MOST, "it went well again"


def test_a_lane_where_nothing_moves_is_full(loop: asyncio.AbstractEventLoop) -> None:
    waiting: Waiting[Request] = Waiting(lambda job: None, *Lane)
    for number in range(LEAST):
        assert not waiting.is_full(Lane.PUSHES), "they may be of a moment's stall"
        waiting.add(Request(f"{number}", since=time.monotonic() - 5), loop)
    assert waiting.is_full(Lane.PUSHES)
    assert not waiting.is_full(Lane.OTHERS)


def test_who_waited_too_long_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BOUNDS, Lane.PUSHES, Bounds(full=10, longest=0.1))
    refused: list[str] = []
    waiting: Waiting[Request] = Waiting(lambda job: refused.append(job.name), *Lane)

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        waiting.add(Request("old"), loop)
        waiting.add(Request("patient", Lane.OTHERS), loop)
        await asyncio.sleep(0.6)

    with ThreadPoolExecutor(1) as other:  # a browser test may have left this thread a running loop
        other.submit(asyncio.run, wait()).result()
    assert refused == ["old"]
    assert [job and job.name for job in (waiting.take(), waiting.take())].count("patient") == 1
