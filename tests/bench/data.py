"""Executions to measure with: about 2.2 KB with five nodes, one in ten failed."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterator

_numbers = itertools.count()


def execution(workflows: int, *, at: dt.datetime | None = None) -> dict[str, object]:
    """One full execution of one of so many workflows, as a sender gives it."""
    number = next(_numbers)
    start = at or dt.datetime.now(dt.UTC) - dt.timedelta(seconds=2)
    stamps = [start + dt.timedelta(milliseconds=200 * step) for step in range(7)]
    fails = number % 10 == 0
    nodes = [_node(position, number, stamps, fails and position == 4) for position in range(5)]
    return {
        "id": f"bench-{start.timestamp():.0f}-{number}",
        "workflowId": f"wf-{number % workflows}",
        "workflowName": f"Workflow {number % workflows}",
        "status": "error" if fails else "success",
        "startedAt": stamps[0].isoformat(),
        "completedAt": stamps[6].isoformat(),
        "trigger": {"type": "schedule", "data": {"shop": "northwind", "page": {"from": number, "size": 250}}},
        "nodeExecutions": nodes,
        **({"error": _error(number)} if fails else {}),
    }  # fmt: skip


def _error(number: int) -> dict[str, str]:
    return {
        "message": f"Connection timed out after {number} ms",
        "stack": "Error: at step 4",
        "nodeId": "n4",
    }


def _node(position: int, number: int, stamps: list[dt.datetime], fails: bool) -> dict[str, object]:
    return {
        "nodeId": f"n{position}",
        "nodeName": f"Node {position}",
        "nodeType": "n8n-nodes-base.httpRequest",
        "status": "error" if fails else "success",
        "startedAt": stamps[position].isoformat(),
        "completedAt": stamps[position + 1].isoformat(),
        "input": [{"order": number, "email": f"customer{number}@example.com", "lines": [1, 2, 3]}],
        "output": {"ok": True, "text": "the quick brown fox jumps over the lazy dog " * 2},
        **({"error": {"message": f"Connection timed out after {number} ms"}} if fails else {}),
    }


def bodies(workflows: int) -> Iterator[bytes]:
    """JSON bodies without end, each of another execution."""
    while True:
        yield json.dumps(execution(workflows)).encode()
