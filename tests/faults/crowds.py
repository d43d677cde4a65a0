"""More requests and connections than there is room for (research: rows 4, 5, 6)."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import psycopg

from config.postgres.cluster import SUPERUSER
from tests.bench import data, load
from tests.config.slow_senders import attack
from tests.faults.flood import Flood, flood
from tests.faults.product import Product, product
from tests.faults.trials import Outcome

SENDERS = 32
CONNECTIONS = 1_500
"""Of a flood; the web takes 2,048."""
GOODPUT, ACCEPTED_SECONDS, MEMORY, BACK_SECONDS = 0.8, 1.0, 1.5, 10.0
IDLE, LIVE_SECONDS, CUT_SECONDS = 500, 1.0, 32.0
STATEMENT_SECONDS = 10.0

_PLACE, _PREPARED = b"bench-id-000000000000", 2_000


def posts(token: str) -> Iterator[bytes]:
    """Requests without end, each a new execution; making them must not take the server's time."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    made = []
    for body in itertools.islice(data.bodies(200), _PREPARED):
        before, _, rest = body.partition(b'"id":')
        _, _, after = rest.partition(b",")
        named = before + b'"id": "' + _PLACE + b'",' + after
        made.append(load.request("POST", "/api/executions", headers=headers, body=named))
    began = time.time_ns() // 1_000_000 % 10**6
    for number, request in enumerate(itertools.cycle(made)):
        yield request.replace(_PLACE, b"bench-id-%06d%06d" % (began, number % 10**6), 1)


def usual(running: Product, seconds: float) -> load.Report:
    """What is stored when senders wait for their answers."""
    return load.run(running.port, posts(running.token), connections=SENDERS, seconds=seconds)


# --- three times the capacity -------------------------------------------------------------------


def three_times_the_capacity(_: int, *, seconds: float, mutant: str = "") -> Outcome:
    """Refused early and clearly, and what is accepted is answered as fast as ever."""
    with product(mutant=mutant, pace=1.0) as running:
        usual(running, 3.0)
        most = usual(running, max(5.0, seconds / 10))
        memory = resident(running)
        seen, peak = _flooded(running, rate=3 * most.rate, seconds=seconds)
        back = _seconds_until_usual(running, GOODPUT * most.rate)
    goodput = seen.goodput / most.rate
    faults = _unclear(seen)
    late = [
        *([] if goodput >= GOODPUT else [f"goodput {goodput:.0%} of the maximum"]),
        *_above("s p99 of accepted", seen.slowest(99), ACCEPTED_SECONDS),
        *_above("times the usual memory", peak / memory, MEMORY),
        *_above("s until as usual", back, BACK_SECONDS),
    ]
    if not seen.statuses[503]:
        faults.append("nothing was refused")
    worst = {
        "ms p99 of accepted": round(1_000 * seen.slowest(99)),
        "MB of web": round(peak),
        "s until as usual": round(back, 1),
    }
    said = (
        f"{seen.goodput:.0f}/s stored of {3 * most.rate:.0f}/s sent, {goodput:.0%} of the maximum"
        f" of {most.rate:.0f}/s; refused in {1_000 * seen.slowest(50, frozenset({503})):.0f} ms"
    )
    return Outcome(_counted(seen), worst, faults, late, said)


def _flooded(running: Product, *, rate: float, seconds: float) -> tuple[Flood, float]:
    """What a flood heard, and the most memory that the web took meanwhile."""
    peaks: list[float] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            peaks.append(resident(running))

    with ThreadPoolExecutor(1) as watcher:
        looking = watcher.submit(look)
        requests = posts(running.token)
        seen = flood(running.port, requests, rate=rate, seconds=seconds, connections=CONNECTIONS)
        ended.set()
        looking.result()
    return seen, max(peaks)


def resident(running: Product) -> float:
    """Megabytes that the web processes hold (RSS)."""
    kilobytes = 0
    for pid in running.web_processes():
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{pid}/status").read_text()
            kilobytes += int(status.partition("VmRSS:")[2].split()[0])
    return kilobytes / 1024


def _seconds_until_usual(running: Product, rate: float) -> float:
    """Since now, until so many are stored in a second and nothing is refused."""
    begun = time.monotonic()
    while time.monotonic() - begun < 3 * BACK_SECONDS:
        report = usual(running, 1.0)
        if not report.errors and report.rate >= rate:
            return time.monotonic() - begun - report.seconds
    return time.monotonic() - begun


# --- a noisy tenant beside a quiet one ----------------------------------------------------------


def noisy_neighbour(_: int, *, seconds: float, mutant: str = "") -> Outcome:
    """One sends ten times its quota, the other a tenth of its own: the quiet one notices nothing."""
    with product(mutant=mutant, pace=1.0) as running:
        most = usual(running, 3.0)
        per_minute = int(6 * most.rate)  # a tenth of what can be stored
        tokens = [_with_quota(running, name, per_minute) for name in ("noisy", "quiet")]
        talk = partial(_heard_apart, running.port, tokens[1], per_minute / 600, seconds, 16)
        alone = talk()
        with ThreadPoolExecutor(1) as other:
            # A minute's quota may come at once: it is used up first.
            noise = (running.port, tokens[0], per_minute / 6, seconds + 10, 200)
            noisy = other.submit(_heard_apart, *noise)
            time.sleep(8)
            beside = talk()
            noise_heard = noisy.result()
    quiet_ms, beside_ms = 1_000 * alone.slowest(99), 1_000 * beside.slowest(99)
    refused = len(beside.answers) - beside.statuses[201]
    faults = [
        *_unclear(noise_heard),
        *([f"the quiet one was refused {refused} times"] if refused else []),
    ]
    late = _above("ms p99 of the quiet one", beside_ms, 2 * quiet_ms)
    if not noise_heard.statuses[429]:
        faults.append("the noisy one was not refused")
    said = (
        f"p99 of the quiet one {beside_ms:.0f} ms, alone {quiet_ms:.0f} ms;"
        f" the noisy one heard {dict(noise_heard.statuses)}"
    )
    return Outcome({"calls of the quiet one": len(beside.answers)}, {}, faults, late, said)


def _with_quota(running: Product, slug: str, per_minute: int) -> str:
    """A token of a new tenant that may send so many."""
    assert running.command("create_tenant", slug.title(), "--slug", slug).returncode == 0
    running.query(
        "UPDATE tenants_tenant SET executions_per_minute = %s WHERE slug = %s", per_minute, slug
    )
    return running.command("create_token", slug, "--scopes", "ingest").stdout.strip()


def _heard_apart(port: int, token: str, rate: float, seconds: float, connections: int) -> Flood:
    """A flood by a process of its own, so that two of them do not hold each other up."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_talk, (port, token, rate, seconds, connections))


def _talk(port: int, token: str, rate: float, seconds: float, connections: int) -> Flood:
    return flood(port, posts(token), rate=rate, seconds=seconds, connections=connections)


# --- connections that do nothing ----------------------------------------------------------------


def idle_and_slow_connections(_: int, *, mutant: str = "") -> Outcome:
    """500 connections rest, 200 senders send a byte a second or none: others are served as ever."""
    with product(mutant=mutant, pace=1.0) as running:
        usual(running, 2.0)
        before = usual(running, 5.0)
        with _idle_connections(running.port), ThreadPoolExecutor(1) as other:
            slow = other.submit(attack, running, pause=1.0, longest=30.0)
            time.sleep(2)
            meanwhile = usual(running, 15.0)
            seen = slow.result()
    slowest = max(cut.seconds for cut in [*seen.stopped, *seen.dripping])
    goodput = meanwhile.rate / before.rate
    late = [
        *_above("s of /health/live", max(seen.health_seconds), LIVE_SECONDS),
        *_above("s until the last slow sender was cut", slowest, CUT_SECONDS),
        *([] if goodput >= GOODPUT else [f"goodput {goodput:.0%} of the usual"]),
        *([f"{meanwhile.errors} of the others refused"] if meanwhile.errors else []),
    ]
    worst = {
        "ms of /health/live": round(1_000 * max(seen.health_seconds)),
        "s until slow senders were cut": round(slowest, 1),
    }
    said = f"goodput {goodput:.0%} of the usual {before.rate:.0f}/s"
    return Outcome(
        {"slow senders cut": len(seen.stopped) + len(seen.dripping)}, worst, late=late, said=said
    )


@contextlib.contextmanager
def _idle_connections(port: int) -> Iterator[None]:
    """Kept connections that asked once; those that the server closes are opened again."""
    ended = threading.Event()
    request = load.request("GET", "/health/live")

    def rest(number: int) -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as one:
                one.sendall(request)
                one.settimeout(1.0)
                while not ended.is_set():
                    with contextlib.suppress(TimeoutError):
                        if not one.recv(4096):
                            break

    threads = [threading.Thread(target=rest, args=[number]) for number in range(IDLE)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


# --- views that hang ----------------------------------------------------------------------------


def views_that_hang(_: int, *, mutant: str = "") -> Outcome:
    """Twice as many calls as threads wait for a table that somebody has locked."""
    with product(mutant=mutant, pace=1.0) as running:
        parameters = running.cluster.connection_parameters(SUPERUSER, "flowwatch")
        with (
            psycopg.connect(**parameters) as holder,
            ThreadPoolExecutor(64) as callers,
        ):
            holder.execute("LOCK TABLE monitoring_workflow IN ACCESS EXCLUSIVE MODE")
            calls = [callers.submit(_call, running, "/api/workflows") for _ in range(64)]
            time.sleep(2)
            live = [_call(running, "/health/live")[1] for _ in range(20)]
            hung = [call.result() for call in calls]
            holder.rollback()
        _, after = _call(running, "/api/workflows")
    slowest = max(seconds for _, seconds in hung)
    late = [
        *_above("s of /health/live", max(live), LIVE_SECONDS),
        *_above("s until the last call was answered", slowest, 2.5 * STATEMENT_SECONDS),
        *_above("s of a call after", after, LIVE_SECONDS),
    ]
    wrong = {status for status, _ in hung} - {503}
    faults = [f"answered {sorted(wrong)}"] if wrong else []
    worst = {"s a call was held": round(slowest, 1), "ms of /health/live": round(1_000 * max(live))}
    return Outcome({"hanging calls": len(hung)}, worst, faults, late)


def _call(running: Product, path: str) -> tuple[int, float]:
    """Status (0: none within a minute) and seconds of a call."""
    begun = time.monotonic()
    try:
        headers = {"Authorization": f"Bearer {running.token}"}
        status = httpx.get(f"{running.url}{path}", headers=headers, timeout=60).status_code
    except httpx.HTTPError:
        status = 0
    return status, time.monotonic() - begun


# --- what must not be ---------------------------------------------------------------------------


def _unclear(seen: Flood) -> list[str]:
    """Answers that are neither acknowledgements nor refusals that say when to come again."""
    wrong = {status for status in seen.statuses if status not in (200, 201, 429, 503)}
    silent = len(seen.without_retry_after)
    return [
        *([f"answered {sorted(wrong)}"] if wrong else []),
        *([f"{silent} refusals without Retry-After"] if silent else []),
    ]


def _above(what: str, value: float, most: float) -> list[str]:
    """A fault when the value is larger, or none at all."""
    return [] if value <= most else [f"{value:.2f} {what}, at most {most:g}"]


def _counted(seen: Flood) -> dict[str, int]:
    stored = seen.statuses[200] + seen.statuses[201]
    return {"acknowledged": stored, "refused": seen.statuses[429] + seen.statuses[503]}
