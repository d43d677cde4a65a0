"""The first execution that a stranger sends: one that failed, as that is what the product is for."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

FIRST_EXECUTION: Final[dict[str, Any]] = {
    "id": "first-try",
    "workflowId": "hello-flowwatch",
    "workflowName": "Hello Flowwatch",
    "status": "error",
    "trigger": {"type": "manual"},
    "nodeExecutions": [
        {
            "nodeId": "read",
            "nodeName": "Read orders",
            "status": "success",
            "durationMs": 420,
            "output": [{"order": 4711}],
        },
        {
            "nodeId": "send",
            "nodeName": "Send invoice",
            "status": "error",
            "durationMs": 30000,
            "input": [{"order": 4711, "total": 129.9}],
            "error": {"message": "Connection timed out after 30000 ms"},
        },
    ],
}


def ingest_command(origin: str, token: str) -> str:
    """Return the curl command that sends it to `origin` (http://host:port).

    The body is in single quotes and holds none; the token is in double quotes, so that a shell
    variable ("$FLOWWATCH_TOKEN") is put in.
    """
    return (
        f"curl {shlex.quote(origin + '/api/executions')} \\\n"
        f'  -H "Authorization: Bearer {token}" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d '{json.dumps(FIRST_EXECUTION)}'"
    )
