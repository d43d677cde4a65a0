"""Examples of requests and answers: shown by OpenAPI and the page, sent and checked by tests."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

_ID: Final = "019c5ae4-ba40-7c3e-9a2f-5d1f0b7c8e21"
_OTHER_ID: Final = "019c5ae4-ba41-7d07-8b61-0c9e4f2a7715"
# Of yesterday: what somebody copies and sends must not be too old.
_DAY: Final = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
_DAY_BEFORE: Final = _DAY - dt.timedelta(days=1)
STARTED: Final = f"{_DAY}T10:30:00Z"
_COMPLETED: Final = f"{_DAY}T10:30:02.340Z"

FULL_EXECUTION: Final[dict[str, Any]] = {
    "id": "exec-1001",
    "workflowId": "orders-intake",
    "workflowName": "Orders intake",
    "status": "error",
    "startedAt": STARTED,
    "completedAt": _COMPLETED,
    "durationMs": 2340,
    "trigger": {"type": "webhook", "data": {"order": 4711}},
    "nodeExecutions": [
        {
            "nodeId": "validate",
            "nodeName": "Validate order",
            "nodeType": "function",
            "status": "success",
            "startedAt": STARTED,
            "durationMs": 40,
            "input": {"order": 4711},
            "output": {"valid": True},
        },
        {
            "nodeId": "charge",
            "nodeName": "Charge card",
            "nodeType": "http",
            "status": "error",
            "durationMs": 2300,
            "input": {"amount": 1999},
            "error": {"message": "502 Bad Gateway"},
        },
    ],
    "error": {
        "message": "502 Bad Gateway",
        "stack": "HttpError: 502 Bad Gateway\n    at charge (orders.js:12)",
        "nodeId": "charge",
    },
    "attempt": 1,
    "tags": ["orders"],
    "keys": {"customer": "c-88"},
}

SHORT_LOG: Final[dict[str, Any]] = {
    "status": "failed",
    "workflowName": "Lead follow-up",
    "failedActionId": "send-sms",
    "failedActionName": "Send SMS",
    "errorMessage": "Number is not reachable",
    "executionTimeMs": 5400,
    "executedAt": STARTED,
}

ERROR_WORKFLOW_CALL: Final[dict[str, Any]] = {
    "execution": {
        "id": "231",
        "url": "https://n8n.example.com/workflow/7/executions/231",
        "error": {
            "message": "Order 18271 has no email address [line 2]",
            "stack": "Error: Order 18271 has no email address\n    at evalmachine:5:2",
        },
        "lastNodeExecuted": "Validate",
        "mode": "webhook",
    },
    "workflow": {"id": "7", "name": "Orders intake"},
}

RECORDED: Final[dict[str, Any]] = {
    "id": _ID,
    "external_id": "exec-1001",
    "created": True,
    "success": True,
}

PINGED: Final[dict[str, Any]] = {
    "id": _ID,
    "external_id": "nightly-2026-11-21",
    "created": False,
    "success": True,
}

HEARD: Final[dict[str, Any]] = {"id": _ID, "external_id": "exec-1001", "success": True}

BATCH_ANSWER: Final[dict[str, Any]] = {
    "summary": {"created": 2, "updated": 0, "unchanged": 0, "rejected": 0, "failed": 0},
    "results": [
        {
            "line": 1,
            "result": "created",
            "id": _ID,
            "external_id": "exec-1001",
            "reason": None,
        },
        {
            "line": 2,
            "result": "created",
            "id": _OTHER_ID,
            "external_id": None,
            "reason": None,
        },
    ],
}


def page(data: list[dict[str, Any]]) -> dict[str, Any]:
    """An example of a page of a list."""
    return {
        "data": data,
        "pagination": {
            "total": 150,
            "limit": 50,
            "offset": 0,
            "hasMore": True,
            "nextCursor": "AZxa5LpAfD6aL10fC3yOIQ",
        },
    }


EDITOR_EXECUTION: Final[dict[str, Any]] = {
    "id": _ID,
    "externalId": "exec-1001",
    "environmentId": 1,
    "workflowId": "orders-intake",
    "workflowName": "Orders intake",
    "status": "error",
    "startedAt": STARTED,
    "completedAt": _COMPLETED,
    "durationMs": 2340,
    "trigger": {"type": "webhook", "data": {"order": 4711}},
    "nodeExecutions": [
        {
            "nodeId": "charge",
            "nodeName": "Charge card",
            "nodeType": "http",
            "runIndex": 0,
            "status": "error",
            "startedAt": None,
            "completedAt": None,
            "durationMs": 2300,
            "attempt": None,
            "input": {"amount": 1999},
            "output": None,
            "error": {"message": "502 Bad Gateway", "stack": None},
        }
    ],
    "error": {
        "message": "502 Bad Gateway",
        "stack": "HttpError: 502 Bad Gateway\n    at charge (orders.js:12)",
        "nodeId": "charge",
    },
    "errorClass": "connection",
    "severity": "warning",
    "result": None,
    "attempt": 1,
    "retryOf": None,
    "parent": None,
    "version": None,
    "tags": ["orders"],
    "keys": {"customer": "c-88"},
    "createdAt": _COMPLETED,
    "lostContactAt": None,
    "contentsOmitted": False,
}

AUTOMATION_EXECUTION: Final[dict[str, Any]] = {
    "id": _ID,
    "external_id": "exec-1001",
    "tenant_id": 1,
    "environment_id": 1,
    "workflow_id": "orders-intake",
    "workflow_name": "Orders intake",
    "trigger_event": "webhook",
    "trigger_data": {"order": 4711},
    "status": "completed",
    "started_at": STARTED,
    "completed_at": _COMPLETED,
    "duration_ms": 2340,
    "result": {"actionsExecuted": 2},
    "error": None,
    "error_stack": None,
    "retry_count": 0,
    "next_retry_at": None,
    "created_at": _COMPLETED,
    "lost_contact_at": None,
    "contents_omitted": False,
}

STEP_LOG: Final[dict[str, Any]] = {
    "id": "send:0",
    "step_number": 1,
    "step_type": "action",
    "step_name": "Send mail",
    "status": "completed",
    "input_data": {"to": "a@example.com"},
    "output_data": {"sent": True},
    "error": None,
    "started_at": STARTED,
    "completed_at": _COMPLETED,
    "duration_ms": 1200,
}

OVERVIEW: Final[dict[str, Any]] = {
    "success": True,
    "data": {
        "statusBreakdown": [
            {"status": "completed", "count": 120, "avg_duration": 2300},
            {"status": "failed", "count": 5, "avg_duration": 1200},
        ],
        "dailyTrend": [{"date": str(_DAY), "total": 15, "completed": 14, "failed": 1}],
        "topWorkflows": [
            {
                "id": "orders-intake",
                "name": "Orders intake",
                "environment_id": 1,
                "execution_count": 85,
                "success_count": 83,
                "failure_count": 2,
                "avg_duration": 2300,
            }
        ],
    },
}

WORKFLOW: Final[dict[str, Any]] = {
    "id": "orders-intake",
    "workflow_id": "orders-intake",
    "name": "Orders intake",
    "environment_id": 1,
    "environment_name": "Default",
    "provider": "other",
    "execution_count": 85,
    "success_count": 83,
    "failure_count": 2,
    "partial_count": 0,
    "last_executed_at": STARTED,
    "average_duration_ms": 2300,
    "created_at": STARTED,
}

LOG_ENTRY: Final[dict[str, Any]] = {
    "id": _ID,
    "external_id": None,
    "workflow_id": "lead-follow-up",
    "workflow_name": "Lead follow-up",
    "location_id": "ve9EPM428h8vShlRW1KT",
    "environment_id": 1,
    "status": "failed",
    "failed_action_id": "send-sms",
    "failed_action_name": "Send SMS",
    "error_message": "Number is not reachable",
    "error_class": "unknown",
    "severity": "warning",
    "execution_time_ms": 5400,
    "executed_at": STARTED,
    "completed_at": None,
}

FAILURE: Final[dict[str, Any]] = {
    "execution_id": _ID,
    "external_id": None,
    "timestamp": STARTED,
    "failed_action_id": "send-sms",
    "action": "Send SMS",
    "error": "Number is not reachable",
    "error_class": "unknown",
    "severity": "warning",
    "execution_time_ms": 5400,
}

N8N_DEFINITION: Final[dict[str, Any]] = {
    "name": "Orders intake",
    "active": True,
    "nodes": [
        {
            "id": "5d1f0b7c",
            "name": "Every hour",
            "type": "n8n-nodes-base.scheduleTrigger",
            "typeVersion": 1.2,
            "position": [0, 0],
            "parameters": {"rule": {"interval": [{"field": "hours"}]}},
        },
        {
            "id": "9a2f5d1f",
            "name": "Fetch orders",
            "type": "n8n-nodes-base.httpRequest",
            "typeVersion": 4.2,
            "position": [220, 0],
            "parameters": {"url": "https://shop.example/orders", "options": {"timeout": 10000}},
            "retryOnFail": True,
        },
    ],
    "connections": {
        "Every hour": {"main": [[{"node": "Fetch orders", "type": "main", "index": 0}]]}
    },
    "settings": {"errorWorkflow": "17"},
}

NEUTRAL_DEFINITION: Final[dict[str, Any]] = {
    "name": "Nightly import",
    "active": True,
    "nodes": [
        {"id": "start", "name": "Every night", "trigger": "schedule"},
        {
            "id": "fetch",
            "name": "Fetch the file",
            "kind": "request",
            "parameters": {"url": "https://files.example/import.csv", "timeout": 10000},
            "retries": 2,
        },
    ],
    "edges": [{"source": "start", "target": "fetch"}],
}

STORED_DEFINITION: Final[dict[str, Any]] = {
    "workflow_id": "orders-intake",
    "environment_id": 1,
    "version": 3,
    "created": True,
    "is_active": True,
    "node_count": 2,
    "digest": "0c9e4f2a77159c5ae4ba417d078b61aa",
    "success": True,
}

METRICS: Final[dict[str, Any]] = {
    "failure_rate": 4.0,
    "avg_execution_time": 2300.5,
    "last_failure": {
        "timestamp": STARTED,
        "action": "Send SMS",
        "error": "Number is not reachable",
        "execution_id": _ID,
        "error_class": "unknown",
    },
    "failure_trend": "stable",
    "total_executions": 125,
    "failed_executions": 5,
}

KPIS: Final[dict[str, Any]] = {
    "time_range": "24h",
    "start": f"{_DAY_BEFORE}T10:30:00Z",
    "end": STARTED,
    "total_executions": 125,
    "success_count": 120,
    "failure_count": 5,
    "partial_count": 0,
    "running_count": 0,
    "waiting_count": 0,
    "success_rate": 96.0,
    "avg_duration_ms": 2256,
    "p50_duration_ms": 2100,
    "p95_duration_ms": 4800,
    "sparkline_data": [
        {
            "start": f"{_DAY_BEFORE}T10:30:00Z",
            "end": f"{_DAY_BEFORE}T12:00:00Z",
            "total_executions": 9,
            "success_count": 9,
            "failure_count": 0,
            "success_rate": 100.0,
            "avg_duration_ms": 2200,
        }
    ],
    "delta_vs_previous": {
        "total_executions": 15.0,
        "success_count": 14.2,
        "failure_count": 25.0,
        "success_rate": -2.0,
        "avg_duration_ms": 1.5,
        "p50_duration_ms": 0.0,
        "p95_duration_ms": None,
    },
}

_RANKED: Final[dict[str, Any]] = {
    "workflow_id": "orders-intake",
    "workflow_name": "Orders intake",
    "environment_id": 1,
    "total_executions": 85,
    "failure_count": 2,
    "success_rate": 97.65,
}

OBSERVABILITY_OVERVIEW: Final[dict[str, Any]] = {
    "kpis": KPIS,
    "status_breakdown": {"success": 120, "error": 5},
    "error_classes": [{"error_class": "timeout", "count": 5}],
    "top_workflows": [_RANKED],
    "failing_workflows": [_RANKED],
}

WORKFLOW_PERFORMANCE: Final[dict[str, Any]] = {
    "workflow_id": "orders-intake",
    "workflow_name": "Orders intake",
    "environment_id": 1,
    "total_executions": 85,
    "success_count": 83,
    "failure_count": 2,
    "success_rate": 97.65,
    "avg_duration_ms": 2300,
    "p50_duration_ms": 2100,
    "p95_duration_ms": 4800,
}

EXECUTION_ANALYTICS: Final[dict[str, Any]] = {
    "workflow_id": "orders-intake",
    "workflow_name": "Orders intake",
    "environment_id": 1,
    "tenant_id": 1,
    "total_count": 85,
    "success_count": 83,
    "failure_count": 2,
    "success_rate": 97.65,
    "avg_duration": 2300,
    "p50_duration": 2100,
    "p95_duration": 4800,
    "last_execution_at": STARTED,
    "last_failure_at": STARTED,
    "last_error_message": "502 Bad Gateway",
}

OBSERVED_EXECUTION: Final[dict[str, Any]] = {
    "id": _ID,
    "tenant_id": 1,
    "environment_id": 1,
    "provider": "n8n",
    "workflow_id": "7",
    "workflow_name": "Orders intake",
    "external_id": "231",
    "n8n_execution_id": "231",
    "status": "error",
    "normalized_status": "error",
    "started_at": STARTED,
    "finished_at": _COMPLETED,
    "execution_time": 2340,
    "error_message": "502 Bad Gateway",
    "error_node": "Charge card",
    "error_class": "connection",
    "severity": "warning",
    "mode": "webhook",
    "lost_contact_at": None,
    "created_at": _COMPLETED,
    "updated_at": _COMPLETED,
}

LIMITS: Final[dict[str, Any]] = {
    "limits": {
        "body_bytes": 5242880,
        "batch_bytes": 67108864,
        "batch_lines": 10000,
        "depth": 64,
        "nodes": 5000,
        "text": 255,
        "error_message_bytes": 65536,
        "stack_bytes": 262144,
        "node_data_bytes": 1048576,
        "page_size_default": 50,
        "page_size_max": 500,
        "offset_max": 10000,
    },
    "executions_per_minute": None,
    "capabilities": ["encoding.gzip", "encoding.zstd", "ingest.batch", "ingest.execution"],
}
