"""A tenant's data to take away: one zip with a file of JSON lines for each kind."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from tempfile import TemporaryFile
from typing import IO

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest
from django.utils import timezone

from tenants import audit, registry
from tenants.models import ApiToken, AuditEvent, Membership, Tenant
from tenants.scoping import tenant_scope

Row = Mapping[str, object]

STEP = 1_000


def export_tenants(tenants: Iterable[Tenant], *, request: HttpRequest | None = None) -> IO[bytes]:
    """Return an open temporary file, rewound, with what `write_export` writes."""
    # The caller streams and closes it.
    file = TemporaryFile()  # noqa: SIM115
    write_export(file, tenants, request=request)
    file.seek(0)
    return file


def write_export(
    file: IO[bytes], tenants: Iterable[Tenant], *, request: HttpRequest | None = None
) -> None:
    """Write a zip with a folder for each tenant, and in it a file of JSON lines for each kind.

    Rows are written as they are read, so that memory does not grow with them. No digest of a token
    and no password is in it.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for tenant in tenants:
            audit.record("tenant.export", tenant=tenant, request=request, subject=tenant.slug)
            with tenant_scope(tenant):
                for name, rows in _parts(tenant):
                    _write_lines(archive, f"{tenant.slug}/{name}.ndjson", rows)


def _parts(tenant: Tenant) -> Iterator[tuple[str, Iterable[Row]]]:
    yield "tenant", [_tenant_row(tenant)]
    yield (
        "members",
        Membership.objects.order_by("id").values("user__email", "user__name", "role", "created_at"),
    )
    yield (
        "tokens",
        ApiToken.objects.order_by("id").values(
            "name", "prefix", "scopes", "environment_id", "created_at", "expires_at", "revoked_at"
        ),
    )
    yield "audit", _audit_rows()
    for name, exporter in registry.exporters():
        yield name, exporter(tenant)


def _tenant_row(tenant: Tenant) -> Row:
    return {
        "name": tenant.name,
        "slug": tenant.slug,
        "location_id": tenant.location_id,
        "created_at": tenant.created_at,
        "suspended_at": tenant.suspended_at,
    }


def _audit_rows() -> Iterator[Row]:
    """Yield the tenant's audit log, the oldest first, by pages of the key."""
    last = 0
    while True:
        page = list(
            AuditEvent.objects.filter(pk__gt=last)
            .order_by("pk")
            .values("id", "created_at", "actor_label", "action", "subject", "detail", "ip")[:STEP]
        )
        yield from page
        if len(page) < STEP:
            return
        last = page[-1]["id"]


def _write_lines(archive: zipfile.ZipFile, name: str, rows: Iterable[Row]) -> None:
    info = zipfile.ZipInfo(re.sub(r"[^\w./-]", "_", name), timezone.now().timetuple()[:6])
    info.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(info, "w", force_zip64=True) as entry:
        for row in rows:
            line = json.dumps(row, cls=DjangoJSONEncoder, ensure_ascii=False)
            entry.write(line.encode("utf-8", "backslashreplace") + b"\n")
