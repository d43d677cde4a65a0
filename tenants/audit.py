"""Adds to the audit log."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from tenants.addresses import client_address
from tenants.models import AuditEvent, Tenant, User

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, limit: int = 255) -> str:
    """Return `text` on one line: control, terminal and direction marks become U+FFFD."""
    return _CONTROL.sub("\ufffd", text)[:limit]


def record(
    action: str,
    *,
    tenant: Tenant | None,
    request: HttpRequest | None = None,
    actor: User | str | None = None,
    subject: str = "",
    **detail: Any,
) -> AuditEvent:
    """Store that `actor` did `action` ("token.revoke") to `subject`.

    Without `actor` it is the request's person or token, else "command". `detail` is kept as JSON;
    pass no secrets. Call it in the transaction of what it tells.
    """
    person, label = _who(actor, request)
    return AuditEvent.objects.create(
        tenant=tenant,
        tenant_label=printable(tenant.slug) if tenant else "",
        actor=person,
        actor_label=printable(label),
        action=action,
        subject=printable(subject),
        detail=_printable_json(detail),
        ip=client_address(request) if request else None,
        created_at=timezone.now(),
    )


def _who(actor: User | str | None, request: HttpRequest | None) -> tuple[User | None, str]:
    if isinstance(actor, User):
        return actor, actor.email
    if actor is not None:
        return None, actor
    if request is None:
        return None, "command"
    user = getattr(request, "user", None)
    if isinstance(user, User) and getattr(request, "token", None) is None:
        return user, user.email
    return None, getattr(request, "actor", "") or "nobody"


def _printable_json(value: Any) -> Any:
    """Return `value` with every text on one line, so that no entry can look like two."""
    if isinstance(value, dict):
        return {printable(str(key)): _printable_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_printable_json(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return printable(str(value), limit=2_000)
