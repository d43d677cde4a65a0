"""API tokens: making, finding and revoking them.

The secret is `fw_<prefix>_<random>`: 8 characters that people recognise it by and 43 random ones
(255 bits). Only its SHA-256 is stored, which is enough for a secret that can't be guessed.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from tenants import audit
from tenants.models import ApiToken, Scope, Tenant, User
from tenants.scoping import across_tenants, tenant_scope

CACHE_SECONDS = 0.9
"""How long a process may go on believing a token that was revoked in another (promise: 1 s)."""

CACHE_SIZE = 10_000

_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class _Cached:
    token: ApiToken
    until: float


_cache: dict[str, _Cached] = {}
_cache_lock = Lock()


@transaction.atomic
def issue_token(
    tenant: Tenant,
    *,
    name: str,
    scopes: Collection[str],
    expires_in_days: int | None = None,
    environment_id: int | None = None,
    created_by: User | None = None,
    request: HttpRequest | None = None,
) -> tuple[ApiToken, str]:
    """Store a new token and return it with its secret, which can't be had again.

    Raises ValueError for no or unknown scopes and for a lifetime under one day.
    """
    wanted = sorted(set(scopes))
    if not wanted or not set(wanted) <= set(Scope.values):
        raise ValueError("A token needs scopes, one or more of: ingest, read, write.")
    if expires_in_days is not None and not 1 <= expires_in_days <= 3_650:
        raise ValueError("A token lives between 1 and 3650 days.")
    prefix = _random_text(8)
    secret = f"fw_{prefix}_{_random_text(43)}"
    now = timezone.now()
    token = ApiToken.objects.create(
        tenant=tenant,
        name=name,
        prefix=prefix,
        digest=digest_of(secret),
        scopes=wanted,
        environment_id=environment_id,
        expires_at=now + timedelta(days=expires_in_days) if expires_in_days else None,
        created_at=now,
        created_by=created_by,
    )
    audit.record(
        "token.create",
        tenant=tenant,
        request=request,
        actor=created_by,
        subject=str(token),
        scopes=wanted,
        expires_at=token.expires_at,
        environment_id=environment_id,
    )
    return token, secret


def revoke_token(token: ApiToken, *, request: HttpRequest | None = None) -> None:
    """End a token: this process refuses it at once, every other within a second."""
    with tenant_scope(token.tenant), transaction.atomic():
        changed = ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(
            revoked_at=timezone.now()
        )
        if changed:
            audit.record("token.revoke", tenant=token.tenant, request=request, subject=str(token))
    forget_cached_tokens()


def find_token(secret: str) -> ApiToken | None:
    """Return the token of `secret` with its tenant, or None when it is unknown, revoked or expired.

    The answer may be up to `CACHE_SECONDS` old; expiry is exact. A suspended tenant's token is
    returned: the caller says 403, not 401.
    """
    if not _looks_like_token(secret):
        return None
    digest = digest_of(secret)
    token = _cached(digest) or _load(digest)
    if token is None or token.state() != "active" or token.tenant.is_being_deleted:
        return None
    return token


def note_use(token: ApiToken) -> None:
    """Write `last_used_at`, at most once a minute for each token."""
    now = timezone.now()
    if not _is_use_due(token.last_used_at, now):
        return
    token.last_used_at = now
    step = now - timedelta(seconds=ApiToken.LAST_USE_STEP)
    with across_tenants():
        ApiToken.objects.filter(
            Q(last_used_at=None) | Q(last_used_at__lte=step), pk=token.pk
        ).update(last_used_at=now)


def forget_cached_tokens() -> None:
    """Empty this process's cache, so that a change counts at once."""
    with _cache_lock:
        _cache.clear()


def digest_of(secret: str) -> str:
    """Return the form in which a secret is stored and looked up."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _is_use_due(last_used_at: datetime | None, now: datetime) -> bool:
    if last_used_at is None:
        return True
    return (now - last_used_at).total_seconds() >= ApiToken.LAST_USE_STEP


def _looks_like_token(secret: str) -> bool:
    return secret.startswith("fw_") and len(secret) <= 100 and secret.isascii()


def _random_text(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _cached(digest: str) -> ApiToken | None:
    entry = _cache.get(digest)
    return entry.token if entry and entry.until > time.monotonic() else None


def _load(digest: str) -> ApiToken | None:
    with across_tenants():
        token = ApiToken.objects.select_related("tenant").filter(digest=digest).first()
    if token is not None:
        with _cache_lock:
            if len(_cache) >= CACHE_SIZE:
                _cache.clear()
            _cache[digest] = _Cached(token, time.monotonic() + CACHE_SECONDS)
    return token
