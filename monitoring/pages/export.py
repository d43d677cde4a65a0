"""Exports of the list: CSV that no spreadsheet runs, and NDJSON; streamed page by page."""

from __future__ import annotations

import csv
import io
import itertools
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

import msgspec
from django.core.exceptions import BadRequest
from django.db import connection
from django.http import Http404, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from monitoring import history
from monitoring.models import Execution
from monitoring.pages.filters import Filters
from monitoring.pages.rows import shown_status
from monitoring.words import ErrorClass, Severity
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.times import utc_text

MOST_CHOSEN: Final = 1_000
"""Rows that one selection by hand can hold."""

_FORMULA_SIGNS: Final = frozenset("=+-@\u2212")
_BREAKS: Final = frozenset("\t\r\n\0")
_UNSEEN: Final = frozenset("ZC")
"""Categories of Unicode: separators, and controls with marks of format or direction."""


def safe_cell(value: Any) -> Any:
    """A cell that a spreadsheet shows and never runs; numbers stay numbers.

    Text that would begin a formula, also behind what is not seen or in a sign's look-alikes, gets
    an apostrophe.
    """
    if not isinstance(value, str):
        return "" if value is None else value
    return f"'{value}" if value and not value[0].isalnum() and _is_risky(value) else value


def _is_risky(text: str) -> bool:
    """Whether the first sign one sees could begin a formula, or a break of cells comes before it."""
    for sign in text:
        if sign in _BREAKS:
            return True
        if unicodedata.category(sign)[0] not in _UNSEEN:
            # The compatibility form: full-width, small, raised and lowered signs are the sign.
            return unicodedata.normalize("NFKC", sign)[0] in _FORMULA_SIGNS
    return False


def exported(execution: Execution) -> dict[str, Any]:
    """One execution as an export gives it; times in UTC, durations in milliseconds."""
    return {
        "id": str(execution.id),
        "external_id": execution.external_id,
        "workflow_id": execution.workflow.external_id,
        "workflow": execution.workflow.name,
        "environment": execution.environment.name,
        "status": shown_status(execution),
        "started_at": utc_text(execution.started),
        "completed_at": execution.completed_at and utc_text(execution.completed_at),
        "duration_ms": execution.duration_ms,
        "trigger": execution.trigger_type,
        "node_count": execution.node_count,
        "node_done_count": execution.node_done_count,
        "error_node": execution.error_node_name or execution.error_node_id,
        "error_message": execution.error_message,
        "error_class": None
        if execution.error_class is None
        else ErrorClass(execution.error_class).slug,
        "severity": None if execution.severity is None else Severity(execution.severity).slug,
        "attempt": execution.attempt,
        "retry_of": execution.retry_of,
        "parent_execution_id": execution.parent_execution_id,
        "version": execution.version,
    }


def csv_lines(chunks: Iterable[list[Execution]]) -> Iterator[bytes]:
    """A header, then a line for each execution."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for rows in chunks:
        for row in rows:
            writer.writerow([safe_cell(value) for value in exported(row).values()])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()


def ndjson_lines(chunks: Iterable[list[Execution]]) -> Iterator[bytes]:
    """A JSON object in a line for each execution; also tags and keys."""
    for rows in chunks:
        objects = (exported(row) | {"tags": row.tags, "keys": row.keys} for row in rows)
        yield b"".join(msgspec.json.encode(one) + b"\n" for one in objects)


COLUMNS: Final = (
    "id",
    "external_id",
    "workflow_id",
    "workflow",
    "environment",
    "status",
    "started_at",
    "completed_at",
    "duration_ms",
    "trigger",
    "node_count",
    "node_done_count",
    "error_node",
    "error_message",
    "error_class",
    "severity",
    "attempt",
    "retry_of",
    "parent_execution_id",
    "version",
)
_Lines = Callable[[Iterable[list[Execution]]], Iterator[bytes]]
FORMS: Final[dict[str, tuple[str, _Lines]]] = {
    "csv": ("text/csv; charset=utf-8", csv_lines),
    "ndjson": ("application/x-ndjson", ndjson_lines),
}


@tenant_member(Role.VIEWER)
@require_http_methods(["GET", "HEAD", "POST"])
def export(request: TenantRequest, slug: str, form: str) -> StreamingHttpResponse:
    """Download what the address' filters match, or the rows that were chosen (`id`, POST)."""
    if form not in FORMS:
        raise Http404("No such form of export")
    content_type, lines = FORMS[form]
    chosen = chosen_ids(request)
    if chosen or (request.POST.getlist("id") and not request.POST.get("all_matching")):
        chunks: Iterable[list[Execution]] = map(history.of_ids, _in_parts(chosen))
    else:
        # What arrives while the download runs belongs to the next one.
        filters = Filters(request)
        if filters.trouble:
            raise BadRequest(f"Nothing to export. {' '.join(filters.trouble)}")
        query = filters.query
        chunks = history.iterate(replace(query, end=query.end or timezone.now()))
    name = f"executions-{slug}-{timezone.localtime():%Y%m%d-%H%M}.{form}"
    return StreamingHttpResponse(
        _letting_go(lines(chunks)),
        content_type=content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Accel-Buffering": "no",
        },
    )


def chosen_ids(request: TenantRequest) -> list[uuid.UUID]:
    """The ids ticked by hand; none when all that match are meant."""
    if request.POST.get("all_matching"):
        return []
    ids = []
    for text in itertools.islice(request.POST.getlist("id"), MOST_CHOSEN):
        try:
            ids.append(uuid.UUID(text))
        except ValueError:
            continue
    return ids


def _in_parts(ids: list[uuid.UUID]) -> Iterator[list[uuid.UUID]]:
    """As many at once as may be in memory with their messages."""
    for start in range(0, len(ids), history.ITERATED):
        yield ids[start : start + history.ITERATED]


def _letting_go(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Give the connection back while the reader takes a part: a slow one must not hold it."""
    for part in parts:
        if not connection.in_atomic_block:
            connection.close()
        yield part
