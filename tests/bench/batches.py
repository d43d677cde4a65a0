"""Batches beside raw COPY of the same rows into the same tables, in the same kind of client."""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.bench import data
from tests.bench.bench import Bench
from tests.bench.site import ROOT, Site
from tests.figures import Figure

LINES = 5_000
_MANY = "batches, 200 workflows hot"
_ONE = "batches, 1 workflow hot"
_COPY = "raw COPY of the same rows, formatted by a Python client"


def _bodies(workflows: int, lines: int = LINES) -> bytes:
    made = itertools.islice(data.bodies(workflows), lines)
    return b"\n".join(made)


def _post(site: Site, token: str, body: bytes) -> float:
    """Seconds that the server took to store one batch."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=120)
    begun = time.perf_counter()
    connection.request(
        "POST",
        "/api/executions/batch",
        body,
        {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"},
    )
    answer = connection.getresponse()
    results = json.loads(answer.read())
    took = time.perf_counter() - begun
    if answer.status != 200:
        raise RuntimeError(f"the batch was answered {answer.status}: {results}")
    return took


def measure(bench: Bench) -> Iterator[Figure]:
    """Batches beside raw COPY, medians of the repeats; and what memory they take."""
    site, token = bench.site, bench.token
    _post(site, token, _bodies(200, 1_000))
    rates: dict[str, list[float]] = {}
    for _ in range(bench.repeats):
        for name, workflows in ((_MANY, 200), (_ONE, 1)):
            took = _post(site, token, _bodies(workflows))
            rates.setdefault(name, []).append(LINES / took)
        raw = subprocess.run(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", _COPY_AGAIN],
            cwd=ROOT, env=site.environment, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        ready, formatted = map(float, raw.stdout.split())
        rates.setdefault(_COPY, []).append(formatted)
        rates.setdefault("raw COPY of ready text", []).append(ready)
    middle = {name: sorted(values)[len(values) // 2] for name, values in rates.items()}
    for name, rate in middle.items():
        share, apart = rate / middle[_COPY], abs(rate / middle[_MANY] - 1)
        target, met = {
            _MANY: ("40 % of raw COPY", share >= 0.4),
            _ONE: ("within 20 % of 200 hot workflows", apart <= 0.2),
        }.get(name, ("", None))
        yield Figure(
            section="ingest", line=name, target=target, met=met,
            reached=f"{rate:,.0f} executions/s, {share:.0%} of raw COPY",
            sizes=f"{LINES:,} executions with 5 nodes, one sender, medians of {bench.repeats}",
        )  # fmt: skip
    yield _memory(site, token)


def _memory(site: Site, token: str) -> Figure:
    """What the web processes held at most while batches of two sizes came in."""
    peaks = {}
    for lines in (1_000, 10_000):
        body = _bodies(200, lines)
        site.forget_web_peak()
        for _ in range(2):
            _post(site, token, body)
        peaks[lines] = site.web_peak_mb()
    growth = peaks[10_000] / peaks[1_000]
    return Figure(
        section="ingest", line="memory of the web processes by size of batch",
        target="flat with batch size", met=growth < 1.5,
        reached=", ".join(f"{peak:,.0f} MB at {lines:,} lines" for lines, peak in peaks.items()),
        sizes="all web processes together, greatest resident size",
    )  # fmt: skip


# The same rows under new ids: indexes and partitions are the same, parsing and deciding are left out.
# "ready text" sends bytes that PostgreSQL gave; "Python rows" has a client format typed values, as any
# sender in Python must. Prints both rates, executions a second.
_COPY_AGAIN = """
import time
import uuid
import psycopg
from django.db import connection
connection.ensure_connection()
pg = connection.connection
tables = {"monitoring_execution": "id", "monitoring_nodeexecution": "execution_id"}
# Ids that carry the mark by chance would meet their own copies.
wanted = (
    "SELECT id FROM monitoring_execution WHERE substr(id::text, 20, 3) <> 'bff'"
    " ORDER BY id DESC LIMIT 5000"
)

def moved(column, mark):
    return f"overlay({column}::text placing '{mark}' from 20 for 4)::uuid"

def selection(table, mark):
    column = tables[table]
    names = [c.name for c in pg.execute(f"SELECT * FROM {table} LIMIT 0").description]
    chosen = ", ".join(f"{moved(name, mark)} AS {name}" if name == column else name for name in names)
    return names, f"SELECT {chosen} FROM {table} WHERE {column} IN ({wanted})"

texts, rows = [], []
for table in tables:
    names, query = selection(table, "bfff")
    with pg.cursor().copy(f"COPY ({query}) TO STDOUT") as copy:
        texts.append((f"COPY {table} ({', '.join(names)}) FROM STDIN", b"".join(copy)))
    names, query = selection(table, "bffe")
    found = psycopg.Cursor(pg).execute(query).fetchall()
    rows.append((f"COPY {table} ({', '.join(names)}) FROM STDIN", found))

begun = time.perf_counter()
with pg.transaction():
    for statement, text in texts:
        with pg.cursor().copy(statement) as copy:
            copy.write(text)
ready = time.perf_counter() - begun
begun = time.perf_counter()
with pg.transaction():
    for statement, found in rows:
        with pg.cursor().copy(statement) as copy:
            for row in found:
                copy.write_row(row)
formatted = time.perf_counter() - begun
with connection.cursor() as cursor:
    for table, column in tables.items():
        cursor.execute(f"DELETE FROM {table} WHERE substr({column}::text, 20, 3) = 'bff'")
print(5000 / ready, 5000 / formatted)
"""
