"""Half an hour of ingest at 80 % of its maximum, while old executions are removed, ten people browse
and one exports: does anything drift?

`--minutes` makes it shorter. With `--record` the samples go to docs/figures/soak.json, their plot to
docs/images/soak.png.
"""

from __future__ import annotations

import collections
import itertools
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from tests.bench import data, load
from tests.bench.bench import Bench
from tests.bench.site import ROOT, Site, carrier, pss_mb
from tests.bench.soak_plot import draw
from tests.figures import Figure

HISTORY: Final = 1_000_000
SHARE: Final = 0.8
WINDOW: Final = 15.0
CONNECTIONS: Final = 32
_WORKFLOWS: Final = 200
_OWNER: Final = "soak@example.com"
QUEUES: Final = ("monitoring_rollupdelta", "monitoring_event", "django_q_ormq")


@dataclass
class Samples:
    """What was read off every 15 s; `at` in seconds since the soak began."""

    at: list[float] = field(default_factory=list)
    web_mb: list[float] = field(default_factory=list)
    worker_mb: list[float] = field(default_factory=list)
    postgres_mb: list[float] = field(default_factory=list)
    queues_mb: list[float] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)


def measure(bench: Bench) -> Iterator[Figure]:
    """Fill a million, find the maximum, then load the product for `bench.minutes`."""
    site = bench.site
    site.fill("history", HISTORY)
    for tenant in ("history", "bench"):
        site.make_owner(tenant, _OWNER)
    with carrier(site):
        usual = load.run(site.port, _posts(bench.token), connections=CONNECTIONS, seconds=20)
        rate = SHARE * usual.rate
        site.command("shell", "--no-imports", "-c", _SHORTEN_RETENTION)
        samples, visits = Samples(), list[list[Any]]()
        report, began = _soak(bench, rate, samples, visits)
    windows = list(_windows(report, began, bench.minutes * 60))
    document = {
        "rate": rate, "maximum": usual.rate, "windows": windows, "samples": vars(samples),
        "visits": _visits(visits, began, bench.minutes * 60),
    }  # fmt: skip
    if bench.record:
        (ROOT / "docs/figures/soak.json").write_text(json.dumps(document, indent=1) + "\n")
        draw(document, ROOT / "docs/images/soak.png")
    yield from _figures(document, report, bench.minutes)


def _soak(
    bench: Bench, rate: float, samples: Samples, visits: list[list[Any]]
) -> tuple[load.Report, float]:
    seconds = bench.minutes * 60
    site = bench.site
    cookie = site.sign_in(_OWNER)
    people = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.visitors", str(site.port), str(seconds), cookie],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert people.stdout is not None
    lines = people.stdout
    listening = threading.Thread(target=lambda: visits.extend(map(json.loads, lines)))
    ended = threading.Event()
    began = time.perf_counter()
    sampling = threading.Thread(target=_sample, args=(site, samples, ended, began))
    for thread in (listening, sampling):
        thread.start()
    posts = itertools.islice(_posts(bench.token), int(rate * seconds))
    report = load.run_at(site.port, posts, connections=CONNECTIONS, rate=rate)
    ended.set()
    people.wait()
    for thread in (listening, sampling):
        thread.join()
    return report, began


def _posts(token: str) -> Iterator[bytes]:
    """Posts of 2.3 KB without end."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    while True:
        body = json.dumps(data.execution(_WORKFLOWS)).encode()
        yield load.request("POST", "/api/executions", headers=headers, body=body)


def _sample(site: Site, samples: Samples, ended: threading.Event, began: float) -> None:
    with site.database() as connection:
        while not ended.wait(WINDOW):
            samples.at.append(time.perf_counter() - began)
            samples.web_mb.append(pss_mb(site.web_pids()))
            samples.worker_mb.append(pss_mb([site.worker]))
            samples.postgres_mb.append(pss_mb(site.database_pids()))
            samples.queues_mb.append(_megabytes(connection, QUEUES))
            samples.removed.append(_removed(connection))


def _removed(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(
        "SELECT coalesce(sum(removed), 0) FROM monitoring_retentionrun"
    ).fetchone()
    assert row is not None
    return int(row[0])


def _megabytes(connection: psycopg.Connection[Any], tables: Sequence[str]) -> float:
    statement = "SELECT sum(pg_total_relation_size(t::regclass)) FROM unnest(%s::text[]) t"
    row = connection.execute(statement, [list(tables)]).fetchone()
    assert row is not None
    return float(row[0]) / 2**20


def _windows(report: load.Report, began: float, seconds: float) -> Iterator[dict[str, float]]:
    """Percentiles of the posts that were answered in each 15 s."""
    answered: dict[int, list[float]] = {}
    for (_, at), latency in zip(report.answers, report.latencies, strict=True):
        answered.setdefault(int((at - began) / WINDOW), []).append(1_000 * latency)
    refused = collections.Counter(int((at - began) / WINDOW) for at in report.refused_at)
    for number in range(int(seconds / WINDOW)):
        found = sorted(answered.get(number, [0.0]))
        yield {
            "at": (number + 1) * WINDOW,
            "rate": len(found) / WINDOW,
            "errors": refused[number],
            "p50": found[len(found) // 2],
            "p99": found[int(len(found) * 0.99)],
        }


def _visits(visits: list[list[Any]], began: float, seconds: float) -> list[dict[str, float]]:
    """The same of pages, each minute; exports and errors are counted."""
    since = began + time.time() - time.perf_counter()
    minutes: dict[int, list[list[Any]]] = {}
    for visit in visits:
        minutes.setdefault(int((visit[0] - since) / 60), []).append(visit)
    return [
        {
            "at": (number + 1) * 60.0,
            **_percentiles([visit[2] for visit in found if visit[1] == "page"]),
            "exports": sum(visit[1] == "export" for visit in found),
            "errors": sum(visit[3] != 200 for visit in found),
        }
        for number, found in sorted(minutes.items())
        if number < seconds / 60
    ]


def _percentiles(milliseconds: list[float]) -> dict[str, float]:
    found = sorted(milliseconds) or [0.0]
    return {"p50": found[len(found) // 2], "p99": found[int(len(found) * 0.99)]}


def _figures(document: dict[str, Any], report: load.Report, minutes: float) -> Iterator[Figure]:
    windows, samples, visits = document["windows"], document["samples"], document["visits"]
    sizes = (
        f"{minutes:g} minutes, {document['rate']:,.0f} posts/s ({SHARE:.0%} of"
        f" {document['maximum']:,.0f}/s), {HISTORY:,} executions before"
    )

    def figure(line: str, target: str, reached: str, met: bool) -> Figure:
        return Figure(
            section="soak", line=line, target=target, reached=reached, met=met, sizes=sizes
        )

    p99 = [window["p99"] for window in windows]
    yield figure(
        "posts", "0 errors, p99 does not drift (last third at most 1.5 times the first)",
        f"{len(report.latencies):,} posts, {report.errors} errors, {_drift(p99, 'ms')}",
        not report.errors and _growth(p99) <= 1.5,
    )  # fmt: skip
    yield figure(
        "pages of ten people, one exporting", "0 errors",
        f"p50 {statistics.median(visit['p50'] for visit in visits):.0f} ms,"
        f" p99 of a minute {statistics.median(visit['p99'] for visit in visits):.0f} ms,"
        f" {sum(visit['exports'] for visit in visits):.0f} exports,"
        f" {sum(visit['errors'] for visit in visits):.0f} errors",
        not any(visit["errors"] for visit in visits),
    )  # fmt: skip
    for name, title in (
        ("web_mb", "memory of web (PSS)"),
        ("worker_mb", "memory of the worker that folds (PSS)"),
        ("postgres_mb", "memory of PostgreSQL (PSS)"),
        ("queues_mb", "size of the queues' tables"),
    ):
        numbers = samples[name]
        yield figure(
            title, "no drift (last third at most 1.2 times the middle one)",
            _drift(numbers, "MB"), _growth(numbers, 1) <= 1.2,
        )  # fmt: skip
    yield figure(
        "executions removed meanwhile",
        "",
        f"{samples['removed'][-1]:,}",
        samples["removed"][-1] > 0,
    )


def _thirds(numbers: Sequence[float]) -> list[float]:
    """Medians of the first, second and last third."""
    third = max(1, len(numbers) // 3)
    return [
        statistics.median(part)
        for part in (numbers[:third], numbers[third : 2 * third] or numbers, numbers[-third:])
    ]


def _growth(numbers: Sequence[float], since: int = 0) -> float:
    thirds = _thirds(numbers)
    return thirds[2] / max(thirds[since], 1e-9)


def _drift(numbers: Sequence[float], unit: str) -> str:
    return "thirds: " + ", ".join(f"{number:,.0f} {unit}" for number in _thirds(numbers))


_SHORTEN_RETENTION: Final = """
from monitoring.database import database_now
from scheduling.models import Removal
from tenants.models import Tenant
from tenants.scoping import tenant_scope
tenant = Tenant.objects.get(slug="history")
tenant.retention_days = 45
tenant.save()
with tenant_scope(tenant):
    Removal.objects.update_or_create(tenant=tenant, defaults={"due_at": database_now()})
"""
