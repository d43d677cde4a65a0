"""The first execution that a stranger sends: one that failed, as that is what the product is for."""

from __future__ import annotations

import datetime as dt
import json
import shlex
from typing import Any

from django.utils import timezone

_READ = dt.timedelta(milliseconds=420)
_SEND = dt.timedelta(seconds=30)


def first_execution(ended_at: dt.datetime) -> dict[str, Any]:
    """The message, of a run that ended at that time."""
    sent_at = ended_at - _SEND
    began_at = sent_at - _READ
    return {
        "id": "first-try",
        "workflowId": "hello-flowwatch",
        "workflowName": "Hello Flowwatch",
        "status": "error",
        "startedAt": _stamp(began_at),
        "completedAt": _stamp(ended_at),
        "trigger": {"type": "manual"},
        "nodeExecutions": [
            {
                "nodeId": "read",
                "nodeName": "Read orders",
                "status": "success",
                "startedAt": _stamp(began_at),
                "completedAt": _stamp(sent_at),
                "output": [{"order": 4711}],
            },
            {
                "nodeId": "send",
                "nodeName": "Send invoice",
                "status": "error",
                "startedAt": _stamp(sent_at),
                "completedAt": _stamp(ended_at),
                "input": [{"order": 4711, "total": 129.9}],
                "error": {"message": "503 Service Unavailable: the invoicing service is down"},
            },
        ],
    }


def _stamp(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ingest_command(origin: str, token: str) -> str:
    """Return the curl command that sends it to `origin` (http://host:port), as a run that just ended.

    The body is in single quotes and holds none; the token is in double quotes, so that a shell
    variable ("$FLOWWATCH_TOKEN") is put in.
    """
    return (
        f"curl {shlex.quote(origin + '/api/executions')} \\\n"
        f'  -H "Authorization: Bearer {token}" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d '{json.dumps(first_execution(timezone.now()))}'"
    )
