"""Executions to measure with: about 2.2 KB with five nodes, one in ten failed."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterator

_numbers = itertools.count()


def execution(
    workflows: int = 1,
    *,
    at: dt.datetime | None = None,
    workflow: int | None = None,
    error: str | None = None,
) -> dict[str, object]:
    """One full execution of one of so many workflows, as a sender gives it.

    `workflow` names one; `error` is how it fails, if it isn't empty.
    """
    number = next(_numbers)
    if workflow is None:
        workflow = number % workflows
    if error is None:
        error = f"Connection timed out after {number} ms" if number % 10 == 0 else ""
    start = at or dt.datetime.now(dt.UTC) - dt.timedelta(seconds=2)
    stamps = [start + dt.timedelta(milliseconds=200 * step) for step in range(7)]
    nodes = [
        _node(position, number, stamps, error if position == 4 else "") for position in range(5)
    ]
    return {
        "id": f"bench-{start.timestamp():.0f}-{number}",
        "workflowId": f"wf-{workflow}",
        "workflowName": f"Workflow {workflow}",
        "status": "error" if error else "success",
        "startedAt": stamps[0].isoformat(),
        "completedAt": stamps[6].isoformat(),
        "trigger": {"type": "schedule", "data": {"shop": "northwind", "page": {"from": number, "size": 250}}},
        "nodeExecutions": nodes,
        **({"error": {"message": error, "stack": "Error: at step 4", "nodeId": "n4"}} if error else {}),
    }  # fmt: skip


def _node(position: int, number: int, stamps: list[dt.datetime], error: str) -> dict[str, object]:
    return {
        "nodeId": f"n{position}",
        "nodeName": f"Node {position}",
        "nodeType": "n8n-nodes-base.httpRequest",
        "status": "error" if error else "success",
        "startedAt": stamps[position].isoformat(),
        "completedAt": stamps[position + 1].isoformat(),
        "input": [{"order": number, "email": f"customer{number}@example.com", "lines": [1, 2, 3]}],
        "output": {"ok": True, "text": "the quick brown fox jumps over the lazy dog " * 2},
        **({"error": {"message": error}} if error else {}),
    }


def bodies(workflows: int) -> Iterator[bytes]:
    """JSON bodies without end, each of another execution."""
    while True:
        yield json.dumps(execution(workflows)).encode()
