"""What an n8n error workflow posts: `{"execution": {…}, "workflow": {…}}`, or `{"trigger": {…}, …}`
when the trigger itself failed and there is no execution.

n8n calls it for failures only, tells neither start nor duration nor the nodes that ran, and delivers
at most once; a later sync completes the execution under the same id. Nodes are known by their name,
because n8n's run data is keyed by it.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from monitoring.models import Environment
from monitoring.recording import schema
from monitoring.recording.record import ExecutionRecord
from tenants.models import Tenant
from tenants.scoping import tenant_scope

_LINE_MARK = re.compile(r" \[line \d+(?:, for item \d+)?\]$")
_STACK_HEAD = re.compile(r"^(?:Uncaught )?(?P<type>\w*Error): (?P<text>.+)$")


def environment_of(message: Any, tenant: Tenant) -> int | None:
    """The n8n environment whose address has the host of `execution.url`, None when none matches."""
    execution = message.get("execution") if isinstance(message, dict) else None
    url = execution.get("url") if isinstance(execution, dict) else None
    host = _host(url)
    if host is None:
        return None
    with tenant_scope(tenant):
        known = Environment.objects.filter(provider=Environment.Provider.N8N).exclude(base_url="")
        return next(
            (env.pk for env in known.order_by("pk") if _host(env.base_url) == host),
            None,
        )


def _host(url: Any) -> str | None:
    """Host and port of an address in lower case, None when it is none."""
    if not isinstance(url, str):
        return None
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower() or None
    except ValueError:
        return None


def execution_of(message: Any, body: bytes, source: schema.Source) -> ExecutionRecord:
    """The failed execution that the message tells of. Raises schema.InvalidMessage."""
    if not isinstance(message, dict):
        raise schema.InvalidMessage([schema.FieldError("", "must be an object")])
    execution = _inner(message, "execution")
    trigger = _inner(message, "trigger")
    workflow = _inner(message, "workflow")
    if not execution and not trigger:
        raise schema.InvalidMessage(
            [schema.FieldError("execution", "is required (or trigger, when the trigger failed)")]
        )
    told = execution or trigger
    error = _inner(told, "error", "execution.error")
    node = _failing_node(told, error)
    full = {
        "id": execution.get("id"),
        "workflowId": workflow.get("id"),
        "workflowName": workflow.get("name"),
        "status": "failed",
        "trigger": {"type": told.get("mode")} if told.get("mode") is not None else None,
        "retryOf": execution.get("retryOf"),
        "error": {
            **_details(error),
            "message": _message(error),
            "stack": error.get("stack"),
            "nodeId": node.get("nodeId"),
        },
        "nodeExecutions": [node] if node else [],
        "url": execution.get("url"),
        "executionContext": execution.get("executionContext"),
    }
    return schema.full_execution({k: v for k, v in full.items() if v is not None}, body, source)


def _inner(outer: dict[str, Any], name: str, loc: str | None = None) -> dict[str, Any]:
    value = outer.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise schema.InvalidMessage([schema.FieldError(loc or name, "must be an object")])
    return value


def _failing_node(told: dict[str, Any], error: dict[str, Any]) -> dict[str, Any]:
    """The node that failed as one failed node execution; {} when n8n does not name it."""
    node = error.get("node")
    known: dict[str, Any] = node if isinstance(node, dict) else {}
    name = known.get("name") or told.get("lastNodeExecuted")
    if not name:
        return {}
    return {
        "nodeId": name,
        "nodeName": name,
        "nodeType": known.get("type"),
        "status": "failed",
        "error": {"message": _message(error)},
    }


def _details(error: dict[str, Any]) -> dict[str, Any]:
    """Error fields beside message, stack and the node's parameters, which are the definition's."""
    left_out = ("message", "stack", "node", "nodeId", "node_id")
    return {
        name: value
        for name, value in error.items()
        if name not in left_out and value not in (None, {}, [])
    }


def _message(error: dict[str, Any]) -> Any:
    """The most telling text; a message that is no text stays what it is, so that keys can tell secrets.

    n8n cuts a Code node's message at colons; the stack's head is whole.

    A general message of n8n ("The service was not able to …") gains the service's own description.
    """
    message = error.get("message")
    if message is not None and not isinstance(message, str):
        return message
    text = message or ""
    stack, description = error.get("stack"), error.get("description")
    head = _STACK_HEAD.match(stack.partition("\n")[0]) if isinstance(stack, str) else None
    bare = _LINE_MARK.sub("", text)
    if head is not None and bare and head["text"].endswith(bare) and len(head["text"]) > len(bare):
        return head["text"]
    if (
        isinstance(description, str)
        and error.get("name") == "NodeApiError"
        and description not in text
    ):
        return f"{text}: {description}" if text else description
    return text or "Unknown error"
