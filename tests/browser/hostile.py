"""Executions that break pages which take data for granted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TENANT_NAME = 'A & B <b>"GmbH"</b> 株式会社 ' + "long " * 30
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
NAMES = (
    "客户数据同步到销售系统",
    "مزامنة بيانات العملاء",
    "x" * 250,
    SCRIPT,
    "a\nb\tc",
    "👩‍👩‍👧‍👦 " * 20,
)
ROWS = 20_000


def hostile_executions() -> Iterator[dict[str, Any]]:
    """Yield full executions: odd names, script everywhere, 300 nodes, more data than is kept."""
    for number, name in enumerate(NAMES):
        yield _named(number, name, failed=number % 2 == 0)
    yield {
        "workflowId": "many-nodes",
        "workflowName": "Three hundred nodes",
        "status": "success",
        "durationMs": 450_000,
        "nodeExecutions": [_node(f"step-{i}", f"Step {i}", durationMs=i * 10) for i in range(300)],
    }
    rows = [{"id": i, "name": f"Row {i}", "tags": ["a", "b"]} for i in range(ROWS)]
    yield {
        "workflowId": "big-data",
        "workflowName": "A megabyte in one node",
        "status": "success",
        "nodeExecutions": [
            _node("big", "Just fits", output=rows),
            _node("too-big", "Too big, so it is cut", output=rows * 3),
        ],
    }


def _named(number: int, name: str, *, failed: bool) -> dict[str, Any]:
    error = {"message": f"{name}\n{SCRIPT} " * 40, "stack": "at frame\n" * 400, "nodeId": "n3"}
    nodes = [
        _node(
            f"n{i}",
            f"{name} {i}"[:250],
            nodeType=SCRIPT,
            durationMs=i,
            input={"text": "lorem ipsum " * 500, SCRIPT: [SCRIPT] * 50},
        )
        for i in range(6)
    ]
    if failed:
        nodes[3] |= {"status": "error", "error": {"message": SCRIPT}}
    return {
        "id": f"{SCRIPT}-{number}",
        "workflowId": f"hostile/{number} ?#%",
        "workflowName": name,
        "status": "error" if failed else "success",
        "durationMs": 10 ** (number + 2),
        "trigger": {"type": SCRIPT, "data": {SCRIPT: SCRIPT}},
        "error": error if failed else None,
        "nodeExecutions": nodes,
    }


def _node(node_id: str, name: str, **more: Any) -> dict[str, Any]:
    return {"nodeId": node_id, "nodeName": name, "status": "success", **more}
