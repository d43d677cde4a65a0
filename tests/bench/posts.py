"""Single durable posts beside the least that a durable post can be."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator

from tests.bench import data, load
from tests.bench.bench import Bench
from tests.figures import Figure

CONNECTIONS = 32
_BARE = "bare Django view, one INSERT and commit, same server"
_MANY = "single posts, durable before the answer, 200 workflows hot"
_ONE = "single posts, durable before the answer, 1 workflow hot"


def posts(token: str, workflows: int, prepared: int = 20_000) -> Iterator[bytes]:
    """Ready requests: making them must not take the server's time while measuring."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    made = itertools.islice(data.bodies(workflows), prepared)
    return iter(
        [load.request("POST", "/api/executions", headers=headers, body=body) for body in made]
    )


def bare_posts() -> Iterator[bytes]:
    """The same bodies for the bare view."""
    body = json.dumps(data.execution(200)).encode()
    return itertools.repeat(load.request("POST", "/bench/bare", body=body))


def send(bench: Bench, seconds: float) -> load.Report:
    """Posts to 200 workflows, as fast as they are answered."""
    requests = posts(bench.token, 200, prepared=round(2_000 * seconds))
    return load.run(bench.site.port, requests, connections=CONNECTIONS, seconds=seconds)


def measure(bench: Bench) -> Iterator[Figure]:
    """Posts beside the bare view, medians of the repeats."""
    kinds: dict[str, Callable[[], Iterator[bytes]]] = {
        _BARE: bare_posts,
        _MANY: lambda: posts(bench.token, 200),
        _ONE: lambda: posts(bench.token, 1),
    }
    reports: dict[str, list[load.Report]] = {name: [] for name in kinds}
    # In turn, so that a change of the machine's speed hits all alike; the first round warms up.
    for round_number in range(bench.repeats + 1):
        for name, make in kinds.items():
            seconds = bench.seconds if round_number else 1.0
            report = load.run(bench.site.port, make(), connections=CONNECTIONS, seconds=seconds)
            if round_number:
                reports[name].append(report)
    base, many = _median(reports[_BARE]), _median(reports[_MANY])
    for name, of_kind in reports.items():
        middle = _median(of_kind)
        errors = sum(report.errors for report in of_kind)
        share, apart = middle.rate / base.rate, abs(middle.rate / many.rate - 1)
        target, met = {
            _BARE: ("", None),
            _MANY: (
                "50 % of the bare view, p99 under 100 ms, 0 errors",
                share >= 0.5 and middle.percentile(99) < 100 and not errors,
            ),
            _ONE: ("within 20 % of 200 hot workflows, 0 errors", apart <= 0.2 and not errors),
        }[name]
        yield Figure(
            section="ingest", line=name, target=target, met=met,
            reached=f"{middle.rate:,.0f}/s, {share:.0%} of bare, p50 {middle.percentile(50):.0f} ms,"
            f" p99 {middle.percentile(99):.0f} ms, {errors} errors",
            sizes=f"{CONNECTIONS} connections, executions of 2.3 KB with 5 nodes,"
            f" medians of {bench.repeats} x {bench.seconds:g} s",
        )  # fmt: skip


def _median(reports: list[load.Report]) -> load.Report:
    return sorted(reports, key=lambda report: report.rate)[len(reports) // 2]
