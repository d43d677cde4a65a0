"""Batches beside raw COPY of the same rows into the same tables."""

from __future__ import annotations

import http.client
import itertools
import json
import resource
import subprocess
import sys
import time

from tests.bench import data
from tests.bench.site import ROOT, Site

LINES = 5_000


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


def measure(site: Site, token: str, seconds: float, repeats: int) -> list[str]:
    """Lines of the report."""
    _post(site, token, _bodies(200, 1_000))
    rates: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, workflows in (("200 workflows", 200), ("1 workflow", 1)):
            took = _post(site, token, _bodies(workflows))
            rates.setdefault(name, []).append(LINES / took)
        raw = subprocess.run(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", _COPY_AGAIN],
            cwd=ROOT, env=site.environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        rates.setdefault("raw COPY", []).append(float(raw.stdout))
    middle = {name: sorted(values)[len(values) // 2] for name, values in rates.items()}
    lines = [f"Batches of {LINES} executions with 5 nodes, one sender (medians of {repeats}):"]
    lines += [
        f"  {name:<28} {rate:8.0f}/s   {100 * rate / middle['raw COPY']:5.1f} % of raw COPY"
        for name, rate in middle.items()
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    lines.append(f"  (this sender's own peak memory: {peak} MiB)")
    return lines


# The same rows, read back as COPY's text and written again under new ids: indexes and partitions
# are the same, parsing and deciding are left out. Prints executions a second.
_COPY_AGAIN = """
import time
from django.db import connection
connection.ensure_connection()
pg = connection.connection
parts = []
for table, column in (("monitoring_execution", "id"), ("monitoring_nodeexecution", "execution_id")):
    columns = [c.name for c in pg.execute(f"SELECT * FROM {table} LIMIT 0").description]
    moved = f"overlay({column}::text placing 'ffff' from 20 for 4)"
    chosen = ", ".join(moved if name == column else name for name in columns)
    wanted = "SELECT id FROM monitoring_execution ORDER BY id DESC LIMIT 5000"
    with pg.cursor().copy(
        f"COPY (SELECT {chosen} FROM {table} WHERE {column} IN ({wanted})) TO STDOUT"
    ) as copy:
        parts.append((table, columns, b"".join(copy)))
begun = time.perf_counter()
with connection.cursor(), pg.transaction():
    for table, columns, text in parts:
        with pg.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            copy.write(text)
took = time.perf_counter() - begun
with connection.cursor() as cursor:
    for table, column in (("monitoring_nodeexecution", "execution_id"), ("monitoring_execution", "id")):
        cursor.execute(f"DELETE FROM {table} WHERE substr({column}::text, 20, 4) = 'ffff'")
print(5000 / took)
"""
