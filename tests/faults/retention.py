"""kill -9 of removals of past executions, row by row and by the week (research: row 35)."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import random
import subprocess
import sys
import time

import httpx

from tests.config.trees import PATIENCE
from tests.faults.product import TENANT, Product, product
from tests.faults.trials import Outcome, Trial

SECTION = "upkeep"
EXECUTIONS = 3_000  # before each kill: half in the archive, half in the oldest week
LONGEST_SECONDS = 1.5

_ORPHANS = {
    "nodes without execution": "SELECT count(*) FROM monitoring_nodeexecution n WHERE NOT EXISTS"
    " (SELECT FROM monitoring_execution e WHERE e.tenant_id = n.tenant_id AND e.id = n.execution_id)",
    "keys without execution": "SELECT count(*) FROM monitoring_executionkey k WHERE NOT EXISTS"
    " (SELECT FROM monitoring_execution e WHERE e.tenant_id = k.tenant_id AND e.id = k.execution_id)",
}
_numbers = itertools.count()


def kills_of_removals(number: int) -> Outcome:
    """So many kills of a removal at work; then one that ends, and what is left."""
    with product() as running:
        cut_off = 0
        for _ in range(number):
            _keep(running, 3_650)
            _send_past(running)
            _keep(running, 30)
            cut_off += _kill_removal(running)
        end = time.monotonic() + PATIENCE
        while _left(running) and time.monotonic() < end:  # the worker may be at a week just now
            done = running.command("run_retention")
            assert done.returncode == 0, done.stderr
        return _outcome(running, number * EXECUTIONS, cut_off)


def _left(running: Product) -> int:
    [(left,)] = running.query("SELECT count(*) FROM monitoring_execution")
    return int(left)


def _keep(running: Product, days: int) -> None:
    running.query("UPDATE tenants_tenant SET retention_days = %s, retention_minimum = 0", days)


def _send_past(running: Product) -> None:
    """Executions around the bound of the archive, all of them past."""
    [(bound,)] = running.query(
        "SELECT least(archive_until, now() - interval '38 days') FROM monitoring_partitionboundary"
    )
    for _ in range(EXECUTIONS // 1_000):
        _send(running, [json.dumps(_execution(bound)) for _ in range(1_000)])


def _send(running: Product, lines: list[str]) -> None:
    """Send until all are stored: into a week that is just going nothing is."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = httpx.post(
            f"{running.url}/api/executions/batch",
            content="\n".join(lines),
            headers={
                "Authorization": f"Bearer {running.token}",
                "Content-Type": "application/x-ndjson",
            },
            timeout=PATIENCE,
        )
        if answer.status_code == 200 and not answer.json()["summary"]["failed"]:
            assert not answer.json()["summary"]["rejected"], answer.text[:500]
            return
        assert time.monotonic() < end, answer.text[:500]
        time.sleep(0.2)


def _execution(bound: dt.datetime) -> dict[str, object]:
    number = next(_numbers)
    began = bound + dt.timedelta(seconds=random.uniform(-6 * 86_400, 6 * 86_400))
    return {
        "id": f"past-{number}",
        "workflowId": f"w-{number % 20}",
        "status": "error" if number % 10 == 0 else "success",
        "startedAt": began.isoformat(),
        "durationMs": number % 1_000,
        "nodeExecutions": [{"nodeId": name, "status": "success"} for name in "ab"],
    }


def _kill_removal(running: Product) -> bool:
    """Kill the command at a random moment of its work; whether something was left to do."""
    process = subprocess.Popen(
        [sys.executable, "-m", "config.cli", "run_retention"],
        cwd=running.code, env=running.environment, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert "dropping" in process.stdout.readline()
    time.sleep(random.uniform(0, LONGEST_SECONDS))
    is_cut_off = process.poll() is None
    if is_cut_off:
        os.kill(process.pid, 9)
    process.wait(PATIENCE)
    process.stdout.close()
    return is_cut_off


def _outcome(running: Product, sent: int, cut_off: int) -> Outcome:
    wrong = {word: int(running.query(statement)[0][0]) for word, statement in _ORPHANS.items()}
    [(counted,)] = running.query("SELECT sum(execution_count) FROM monitoring_workflow")
    [(waiting,)] = running.query(
        "SELECT coalesce(sum(c), 0) FROM monitoring_rollupdelta, unnest(counts) c"
    )
    [(of_days,)] = running.query(
        "SELECT coalesce(sum(c), 0) FROM monitoring_rollup, unnest(counts) c"
        " WHERE subject_kind = 0 AND level = 2"
    )
    verified = running.command("verify_rollups", TENANT)
    assert "rows of" in verified.stdout, verified.stderr
    wrong |= {
        "past executions left": _left(running),
        "missing in the numbers": abs(sent - int(of_days) - int(waiting)),
        "missing in the statistics": abs(sent - int(counted) - int(waiting)),
        "rollup differences": len(verified.stdout.splitlines()) - 1,
    }
    faults = [f"{number} {word}" for word, number in wrong.items() if number]
    if not cut_off:
        faults.append("the kills hit nobody")
    return Outcome(tally={"removed": sent, "cut off": cut_off} | wrong, faults=faults)


TRIALS = (
    Trial(
        "row 35: kill -9 of a removal of past executions, row by row and by the week",
        "20 kills: rollups equal, no orphans, nothing past left",
        kills_of_removals,
        times=20, at_once=10, quick=3,
    ),
)  # fmt: skip
