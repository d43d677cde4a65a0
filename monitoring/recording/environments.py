"""Which environment a message belongs to (DESIGN: "Environment of what is pushed")."""

from __future__ import annotations

import datetime as dt
import threading
import time

from django.db import connection
from django.utils import timezone

from monitoring.models import Environment
from monitoring.recording.schema import FieldError, InvalidMessage, Source
from tenants.scoping import across_tenants

CACHE_SECONDS = 10.0
_CACHE_SIZE = 10_000
DEFAULT_SLUG = "default"


class _Cache:
    """(default id, all ids) by tenant, at most 10 s old."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[int, frozenset[int], float]] = {}
        self._lock = threading.Lock()

    def get(self, tenant_id: int) -> tuple[int, frozenset[int]] | None:
        entry = self._entries.get(tenant_id)
        return entry[:2] if entry is not None and entry[2] > time.monotonic() else None

    def put(self, tenant_id: int, default_id: int, ids: frozenset[int]) -> None:
        with self._lock:
            if len(self._entries) >= _CACHE_SIZE:
                self._entries.clear()
            self._entries[tenant_id] = (default_id, ids, time.monotonic() + CACHE_SECONDS)

    def forget(self, tenant_id: int | None = None) -> None:
        with self._lock:
            if tenant_id is None:
                self._entries.clear()
            else:
                self._entries.pop(tenant_id, None)


_cache = _Cache()
forget_environments = _cache.forget
"""Call after adding or deleting an environment, so that this process sees it at once."""


def default_environment(tenant_id: int) -> Environment:
    """The tenant's built-in environment for pushes that name none; made on first use."""
    with across_tenants():
        environment, _ = Environment.objects.get_or_create(
            tenant_id=tenant_id,
            is_default=True,
            defaults={"name": "Default", "slug": DEFAULT_SLUG},
        )
        return environment


def _environments_of(tenant_id: int) -> tuple[int, frozenset[int]]:
    known = _cache.get(tenant_id)
    if known is not None:
        return known
    default_id = default_environment(tenant_id).pk
    with across_tenants():
        ids = frozenset(
            Environment.objects.filter(tenant_id=tenant_id).values_list("pk", flat=True)
        )
    if not connection.in_atomic_block:
        _cache.put(tenant_id, default_id, ids)
    return default_id, ids


def source_for(
    tenant_id: int,
    token_environment_id: int | None = None,
    requested_environment_id: int | None = None,
    received_at: dt.datetime | None = None,
) -> Source:
    """Where a call's messages come from: the token's environment, else the one its query names.

    Raises InvalidMessage when the query names an environment that is not the tenant's.
    """
    default_id, ids = _environments_of(tenant_id)
    if requested_environment_id is not None and requested_environment_id not in ids:
        # It may have been made in another process since this one looked.
        _cache.forget(tenant_id)
        default_id, ids = _environments_of(tenant_id)
        if requested_environment_id not in ids:
            raise InvalidMessage(
                [FieldError("environment_id", "names no environment of this tenant")]
            )
    return Source(
        tenant_id=tenant_id,
        received_at=received_at or timezone.now(),
        default_environment_id=requested_environment_id or default_id,
        environment_id=token_environment_id,
        known_environments=ids,
    )
