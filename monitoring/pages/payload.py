"""What an execution carries, one part at a time: JSON for the tree, plain text, a download."""

from __future__ import annotations

import uuid
from typing import Final

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from monitoring.models import Execution
from monitoring.recording.payload import DamagedPayload, Payload, json_of, unpack
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role

OF_EXECUTION: Final = {
    "trigger": "trigger_data",
    "log": "raw_log",
    "result": "result",
    "details": "error_details",
}
OF_NODE: Final = {
    "input": "input",
    "output": "output",
    "node-details": "error_details",
    "extra": "extra",
}
STACKS: Final = frozenset({"stack", "node-stack"})
_LOCKED_DOWN: Final = "default-src 'none'; sandbox; frame-ancestors 'none'"


def payload_of(execution: Execution) -> Payload | None:
    """The execution's payload; None when the stored bytes are damaged."""
    try:
        return unpack(execution.payload)
    except DamagedPayload:
        return None


def whole_number(request: HttpRequest, name: str) -> int:
    """A number from the address, 0 when it is none or out of PostgreSQL's range."""
    text = request.GET.get(name, "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else 0
    return number if number < 2**31 else 0


@tenant_member(Role.VIEWER)
@require_safe
@cache_control(private=True, no_store=True)
def data(request: TenantRequest, slug: str, execution_id: uuid.UUID, part: str) -> HttpResponse:
    """One part of the payload as it was sent (scrubbed and cut).

    `?node=<id>&run=<n>` choose the node; `?raw=1` answers text, `?download=1` an attachment. What
    senders wrote never runs here: it is never HTML, and the browser is told to sandbox it.
    """
    execution = Execution.objects.only("id", "tenant_id", "payload").filter(id=execution_id).first()
    payload = payload_of(execution) if execution else None
    if payload is None:
        raise Http404("No such execution, or its stored data is damaged")
    body = _part(payload, part, request.GET.get("node", ""), whole_number(request, "run"))
    if body is None:
        raise Http404("This part was not sent")
    is_text = part in STACKS
    plain = is_text or bool(request.GET.get("raw"))
    response = HttpResponse(
        body,
        content_type="text/plain; charset=utf-8" if plain else "application/json",
        headers={"X-Content-Type-Options": "nosniff", "Content-Security-Policy": _LOCKED_DOWN},
    )
    if request.GET.get("download"):
        ending = "txt" if is_text else "json"
        response["Content-Disposition"] = f'attachment; filename="{part}-{execution_id}.{ending}"'
    return response


def _part(payload: Payload, part: str, node_id: str, run_index: int) -> bytes | None:
    if part in OF_EXECUTION:
        return json_of(getattr(payload, OF_EXECUTION[part]))
    if part in OF_NODE:
        return json_of(getattr(payload.node(node_id, run_index), OF_NODE[part]))
    if part in STACKS:
        holder = payload if part == "stack" else payload.node(node_id, run_index)
        return holder.error_stack.encode() if holder.error_stack else None
    raise Http404("No such part")
