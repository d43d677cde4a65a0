"""Single durable posts beside the least that a durable post can be."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator

from tests.bench import data, load
from tests.bench.site import Site

CONNECTIONS = 32


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


def measure(site: Site, token: str, seconds: float, repeats: int) -> list[str]:
    """Lines of the report."""
    kinds: dict[str, Callable[[], Iterator[bytes]]] = {
        "bare view, one INSERT": bare_posts,
        "posts, 200 workflows hot": lambda: posts(token, 200),
        "posts, 1 workflow hot": lambda: posts(token, 1),
    }
    reports: dict[str, list[load.Report]] = {name: [] for name in kinds}
    # In turn, so that a change of the machine's speed hits all alike; the first round warms up.
    for round_number in range(repeats + 1):
        for name, make in kinds.items():
            report = load.run(
                site.port,
                make(),
                connections=CONNECTIONS,
                seconds=1.0 if round_number == 0 else seconds,
            )
            if round_number:
                reports[name].append(report)
    base = _median(reports["bare view, one INSERT"])
    lines = [
        f"Single posts, {CONNECTIONS} connections, durable before the answer (medians of {repeats}):"
    ]
    for name, of_kind in reports.items():
        middle = _median(of_kind)
        lines.append(
            f"  {name:<28} {middle.rate:8.0f}/s   p50 {middle.percentile(50):6.1f} ms"
            f"   p99 {middle.percentile(99):6.1f} ms   errors {sum(r.errors for r in of_kind)}"
            f"   {100 * middle.rate / base.rate:5.1f} % of bare"
        )
    return lines


def _median(reports: list[load.Report]) -> load.Report:
    return sorted(reports, key=lambda report: report.rate)[len(reports) // 2]
