"""Pages and KPI paths at 100,000 executions, 1 and 8 connections."""

from __future__ import annotations

import itertools
import json
import re
import urllib.parse

from tests.bench import load
from tests.bench.site import Site

EXECUTIONS = 100_000


def measure(site: Site, token: str, seconds: float, repeats: int) -> list[str]:
    """Lines of the report."""
    site.command("create_tenant", "History", "--slug", "history")
    site.make_owner("history", "bench@example.com")
    site.command("shell", "--no-imports", "-c", _FILL.format(count=EXECUTIONS))
    cookie = site.sign_in("bench@example.com")
    lines = [
        f"Pages at {EXECUTIONS:,} executions (HTML or JSON, uncompressed; CPU of web and database):"
    ]
    for name, path in _pages(site, cookie).items():
        lines.append(_line(site, name, path, cookie, seconds))
    return lines


def _line(site: Site, name: str, path: str, cookie: str, seconds: float) -> str:
    request = load.request("GET", path, headers={"Cookie": cookie})
    # A new connection of the database plans what the page asks: measured is what comes after.
    load.run(site.port, itertools.repeat(request), connections=8, seconds=max(0.5, seconds / 4))
    one = load.run(site.port, itertools.repeat(request), connections=1, seconds=seconds / 4)
    spent = site.cpu_seconds()
    eight = load.run(site.port, itertools.repeat(request), connections=8, seconds=seconds / 2)
    cost = (site.cpu_seconds() - spent) / len(eight.latencies) * 1_000
    size = one.body_bytes / len(one.latencies) / 1024
    return (
        f"  {name:<34} {size:7.1f} KB   1: p50 {one.percentile(50):6.1f} p99 {one.percentile(99):6.1f} ms"
        f"   8: p50 {eight.percentile(50):6.1f} p99 {eight.percentile(99):6.1f} ms"
        f"   {eight.rate:6.0f}/s   {cost:5.1f} ms of CPU each   errors {one.errors + eight.errors}"
    )


def _pages(site: Site, cookie: str) -> dict[str, str]:
    """Names and paths, with the ids of a failed execution and its workflow."""
    found = json.loads(site.get("/api/executions?status=failed&limit=1&tenant=history", cookie))
    execution = found["data"][0]["id"]
    workflow = re.search(r"/t/history/workflows/(\d+)/", site.get("/t/history/workflows/", cookie))
    assert workflow is not None
    cursor = None
    for _ in range(20):
        after = f"&cursor={urllib.parse.quote(cursor)}" if cursor else ""
        page = json.loads(site.get(f"/api/executions?limit=500&tenant=history{after}", cookie))
        cursor = page["pagination"]["nextCursor"]
    far = urllib.parse.quote(cursor or "")
    return {
        "overview, 24 h": "/t/history/?range=24h",
        "overview, 30 d": "/t/history/?range=30d",
        "executions": "/t/history/executions/?range=30d",
        "executions, failed": "/t/history/executions/?range=30d&status=failed",
        "executions, 200th page": f"/t/history/executions/?range=30d&after={far}",
        "execution": f"/t/history/executions/{execution}/",
        "workflows": "/t/history/workflows/?range=7d",
        "workflow": f"/t/history/workflows/{workflow[1]}/?range=7d",
        "API executions": "/api/executions?tenant=history",
        "API executions, 10,000 in": f"/api/executions?tenant=history&cursor={far}",
        "API KPIs, 24 h": "/api/v1/observability/kpis?time_range=24h&tenant=history",
        "API KPIs, 30 d": "/api/v1/observability/kpis?time_range=30d&tenant=history",
    }


_FILL = """
import datetime as dt, json, time
from config.roles import as_owner
from django.db import connection
from monitoring.recording import schema
from monitoring.recording.environments import source_for
from monitoring.recording.store import record_executions
from monitoring.metrics.rollups import fold_deltas
from tenants.models import Tenant
from tests.bench import data
tenant = Tenant.objects.get(slug="history")
source = source_for(tenant.pk)
now = dt.datetime.now(dt.UTC)
count = {count}
for first in range(0, count, 1000):
    records = []
    for number in range(first, first + 1000):
        at = now - dt.timedelta(days=29) * (1 - number / count) - dt.timedelta(minutes=1)
        body = json.dumps(data.execution(200, at=at)).encode()
        records.append(schema.full_execution(schema.decode(body), body, source))
    record_executions(records)
    if first % 10_000 == 0:
        while fold_deltas():
            pass
# The worker folds too, one at a time: until nothing is left, pages would count every delta anew.
def any_unfolded():
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM monitoring_rollupdelta)")
        return cursor.fetchone()[0]
while any_unfolded():
    fold_deltas() or time.sleep(0.1)
with as_owner(), connection.cursor() as cursor:
    cursor.execute("VACUUM (ANALYZE)")
"""
