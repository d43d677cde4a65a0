"""A tenant's data to take away: one zip with a file of JSON lines for each kind."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.http import HttpRequest
from django.utils import timezone

from tenants import audit, registry
from tenants.models import ApiToken, AuditEvent, Membership, Tenant
from tenants.scoping import scoped_stream

Row = Mapping[str, object]

STEP = 1_000
CHUNK_BYTES = 64 * 1024


def export_tenants(
    tenants: Iterable[Tenant], *, request: HttpRequest | None = None
) -> Iterator[bytes]:
    """Return the pieces of a zip: a folder for each tenant, in it a file for each kind of rows.

    The audit log has it at once; rows are read while the pieces are taken, so that neither memory
    nor disk grows with them. A zip that broke off has no directory at its end: no program opens it.
    No digest of a token and no password is in it.
    """
    chosen = list(tenants)
    for tenant in chosen:
        audit.record("tenant.export", tenant=tenant, request=request, subject=tenant.slug)
    return _zip(chosen)


def _zip(tenants: Iterable[Tenant]) -> Iterator[bytes]:
    written = _Written()
    # Of a file that can't be sought in, zipfile puts sizes behind each entry.
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for tenant in tenants:
            for name, rows in _parts(tenant):
                with archive.open(
                    _entry(f"{tenant.slug}/{name}.ndjson"), "w", force_zip64=True
                ) as entry:
                    for chunk in scoped_stream(tenant, _chunks(rows)):
                        entry.write(chunk)
                        yield from written.take()
    yield from written.take()


class _Written:
    """A file that is written at one end and taken from at the other."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What is left may still be taken."""

    def take(self) -> Iterator[bytes]:
        """Yield what was written since the last time, when there is anything."""
        piece = b"".join(self._pieces)
        self._pieces.clear()
        if piece:
            yield piece


def _parts(tenant: Tenant) -> Iterator[tuple[str, Callable[[], Iterable[Row]]]]:
    """Yield the kinds, and what reads their rows inside the tenant's scope."""
    yield "tenant", lambda: [_tenant_row(tenant)]
    yield (
        "members",
        lambda: Membership.objects.order_by("id").values(
            "user__email", "user__name", "role", "created_at"
        ),
    )
    yield (
        "tokens",
        lambda: ApiToken.objects.order_by("id").values(
            "name", "prefix", "scopes", "environment_id", "created_at", "expires_at", "revoked_at"
        ),
    )
    audited = columns_of(
        AuditEvent, "created_at", "actor_label", "action", "subject", "detail", "ip"
    )
    yield "audit", partial(audited, tenant)
    for name, exporter in registry.exporters():
        yield name, partial(exporter, tenant)


def _tenant_row(tenant: Tenant) -> Row:
    return {
        "name": tenant.name,
        "slug": tenant.slug,
        "location_id": tenant.location_id,
        "retention_days": tenant.retention_days,
        "retention_minimum": tenant.retention_minimum,
        "created_at": tenant.created_at,
        "suspended_at": tenant.suspended_at,
    }


def columns_of(model: type[models.Model], *columns: str) -> registry.Exporter:
    """Return an exporter of a model's id and columns, the oldest row first.

    It reads pages of the key, so that no cursor stays open while somebody downloads slowly.
    """

    def rows(tenant: Tenant) -> Iterator[Row]:
        last = 0
        while True:
            found = model._default_manager.filter(pk__gt=last).order_by("pk")
            page = list(found.values("id", *columns)[:STEP])
            yield from page
            if len(page) < STEP:
                return
            last = page[-1]["id"]

    return rows


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(re.sub(r"[^\w./-]", "_", name), timezone.now().timetuple()[:6])
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _chunks(rows: Callable[[], Iterable[Row]]) -> Iterator[bytes]:
    """Yield lines, some together."""
    lines: list[bytes] = []
    size = 0
    for row in rows():
        line = json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False)
        lines.append(line.encode("utf-8", "backslashreplace") + b"\n")
        size += len(lines[-1])
        if size >= CHUNK_BYTES:
            yield b"".join(lines)
            lines, size = [], 0
    yield b"".join(lines)
