"""Pages, API paths and ranges of key figures over histories of several sizes, 1 and 8 connections."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import re
import subprocess
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.bench import load
from tests.bench.bench import Bench
from tests.bench.site import Site, pss_mb, running_site
from tests.figures import Figure

_ROUNDS = 5
_OWNER: Final = "bench@example.com"
_RANGES: Final = ("1h", "6h", "24h", "7d", "30d")
_FAR: Final = 1_000  # pages of 50 before the one that is far in


@dataclass(frozen=True)
class Measured:
    """One page of one history: milliseconds, and what one request took of processors."""

    alone: float
    median: float
    p99: float
    web_ms: float
    database_ms: float
    kilobytes: float
    errors: int


def measure(bench: Bench) -> Iterator[Figure]:
    """Each page at all sizes, one right after the other, as the machine's speed changes; then memory."""
    with contextlib.ExitStack() as running:
        visits = {size: _Visit.begin(bench, size, running) for size in bench.sizes}
        largest = visits[bench.sizes[-1]]
        for name in largest.paths:
            yield _figure(
                name, {size: visit.measured(name, bench.seconds) for size, visit in visits.items()}
            )
        yield from _memory(largest.site, bench.sizes[-1])


@dataclass(frozen=True)
class _Visit:
    """Somebody signed in to a product with a kept history, and the paths of the pages there."""

    site: Site
    cookie: str
    paths: dict[str, str]

    @classmethod
    def begin(cls, bench: Bench, size: int, running: contextlib.ExitStack) -> _Visit:
        """Start the product and fill what its history lacks."""
        site = running.enter_context(running_site(kept=bench.history(size)))
        site.fill("history", size)
        with contextlib.suppress(subprocess.CalledProcessError):  # is there from a run before
            site.make_owner("history", _OWNER)
        cookie = site.sign_in(_OWNER)
        return cls(site, cookie, _paths(site, cookie))

    def measured(self, name: str, seconds: float) -> Measured:
        """What a page took."""
        return _measured(self.site, self.paths[name], self.cookie, seconds)


def _figure(name: str, by_size: dict[int, Measured]) -> Figure:
    smallest, largest = min(by_size), max(by_size)
    small, large = by_size[smallest], by_size[largest]
    growth = large.median / small.median
    is_kpi = name.startswith("KPIs")
    fast = large.median < 50 and (is_kpi or large.p99 < 150)
    return Figure(
        section="KPIs" if is_kpi else "pages",
        line=name,
        target=("median under 50 ms" if is_kpi else "median under 50 ms, p99 under 150 ms")
        + f", at most 1.5 times that at {smallest:,}",
        met=fast and growth <= 1.5 and not large.errors,
        reached=f"8 connections: median {large.median:.0f}, p99 {large.p99:.0f} ms ({growth:.2f} times"
        f" the {small.median:.0f} ms at {smallest:,}); alone {large.alone:.0f} ms; processor"
        f" {large.web_ms:.0f} + {large.database_ms:.0f} ms (web + database)"
        + (f"; {large.errors} errors" if large.errors else ""),
        sizes=f"{largest:,} executions, {large.kilobytes:.0f} KB on the wire",
    )


def _measured(site: Site, path: str, cookie: str, seconds: float) -> Measured:
    headers = {"Cookie": cookie, "Accept-Encoding": "gzip"}  # as browsers ask
    request = load.request("GET", path, headers=headers)
    # A new connection of the database plans what the page asks: measured is what comes after.
    _of_eight(site, request, max(0.5, seconds / 4))
    one = load.run(site.port, itertools.repeat(request), connections=1, seconds=seconds / 4)
    web, database = site.cpu_seconds()
    eight = _of_eight(site, request, seconds / 2)
    web_after, database_after = site.cpu_seconds()
    answers = len(eight.latencies)
    return Measured(
        alone=one.percentile(50),
        median=eight.percentile(50),
        p99=eight.percentile(99),
        web_ms=1_000 * (web_after - web) / answers,
        database_ms=1_000 * (database_after - database) / answers,
        kilobytes=one.body_bytes / len(one.latencies) / 1024,
        errors=one.errors + eight.errors,
    )


def _of_eight(site: Site, request: bytes, seconds: float) -> load.Report:
    """8 connections, opened anew in each round: by chance one web process gets most of them."""
    report = load.Report.empty()
    for _ in range(_ROUNDS):
        requests = itertools.repeat(request)
        report.add(load.run(site.port, requests, connections=8, seconds=seconds / _ROUNDS))
    return report


def _paths(site: Site, cookie: str) -> dict[str, str]:
    """Names and paths, with the ids of a failed execution and of popular and rare workflows."""

    found = json.loads(site.get("/api/executions?status=failed&limit=1&tenant=history", cookie))
    failed = found["data"][0]["id"]
    listed = site.get("/t/history/workflows/?range=30d", cookie)
    workflow = re.search(r"/t/history/workflows/(\d+)/", listed)
    assert workflow is not None
    far = _far_cursor(site, cookie)
    page, lists = "/t/history", "/t/history/executions/"
    pages = {
        **{f"overview, {each}": f"{page}/?range={each}" for each in _RANGES},
        "executions, 30 days": f"{lists}?range=30d",
        "executions, 1,000th page": f"{lists}?range=30d&after={far}",
        "executions, failed": f"{lists}?range=30d&status=failed",
        "executions of one workflow": f"{lists}?range=30d&workflow={workflow[1]}",
        "execution": f"{lists}{failed}/",
        **{f"workflows, {each}": f"{page}/workflows/?range={each}" for each in ("24h", "30d")},
        **{
            f"workflow, {each}": f"{page}/workflows/{workflow[1]}/?range={each}"
            for each in ("24h", "30d")
        },
        "search": f"{page}/search/?q=write",
        "alerts": f"{page}/alerts/",
        "scans": f"{page}/scans/",
    }
    return {
        **pages,
        **_api_paths(failed, "history-0", far),
        **{
            f"KPIs, {each}": f"/api/v1/observability/kpis?time_range={each}&tenant=history"
            for each in _RANGES
        },
        "KPIs, 85 days to the second": "/api/v1/observability/kpis?tenant=history&" + _long_range(),
    }


def _api_paths(execution: str, workflow: str, far: str) -> dict[str, str]:
    paths = {
        "executions": "executions?",
        "executions, 50,000 in": f"executions?cursor={far}&",
        "executions, failed": "executions?status=failed&",
        "execution": f"executions/{execution}?",
        "workflows": "workflows?",
        "workflow": f"workflows/{workflow}?",
        "executions of a workflow": f"workflows/{workflow}/executions?",
        "failures of a workflow": f"workflows/{workflow}/failures?",
        "metrics of a workflow": f"workflows/{workflow}/metrics?",
        "workflow-executions": "workflow-executions?",
        "workflow-executions, overview": "workflow-executions/stats/overview?",
        "observability, overview": "v1/observability/overview?time_range=30d&",
        "observability, workflows": "v1/observability/workflows?time_range=30d&",
        "analytics": "v1/analytics/executions?time_range=30d&",
        "incidents": "alerts/incidents?",
    }
    return {f"API: {name}": f"/api/{path}tenant=history" for name, path in paths.items()}


def _far_cursor(site: Site, cookie: str) -> str:
    cursor = ""
    for _ in range(_FAR * 50 // 500):
        page = json.loads(
            site.get(f"/api/executions?limit=500&tenant=history&cursor={cursor}", cookie)
        )
        cursor = urllib.parse.quote(page["pagination"]["nextCursor"])
    return cursor


def _long_range() -> str:
    """A range whose edges cut buckets at both ends."""
    now = dt.datetime.now(dt.UTC)
    start, end = now - dt.timedelta(days=85, minutes=2, seconds=31), now - dt.timedelta(seconds=97)
    return urllib.parse.urlencode({"start": start.isoformat(), "end": end.isoformat()})


def _memory(site: Site, size: int) -> Iterator[Figure]:
    kinds = {
        "web: its parent and workers": site.web_pids(),
        "worker that folds": [site.worker],
        "PostgreSQL, all of its processes": site.database_pids(),
    }
    for name, pids in kinds.items():
        yield Figure(
            section="memory", line=name, target="", reached=f"{pss_mb(pids):,.0f} MB (PSS)",
            sizes=f"{len(pids)} processes, after all pages at {size:,} executions",
        )  # fmt: skip
