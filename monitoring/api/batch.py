"""Many messages in one call: stored in chunks, each atomic, with a result for every line."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from django.conf import settings
from django.db import Error, connection
from django.http import HttpResponse

from monitoring.api import examples
from monitoring.api.answers import json_answer
from monitoring.api.batch_places import place_for
from monitoring.api.bodies import JSON, NDJSON, BodyStream, demand_content_type
from monitoring.api.endpoints import Answer, Body, operation
from monitoring.api.ingest import (
    IDEMPOTENCY_KEY,
    PROBLEMS,
    PUSH_ENVIRONMENT,
    field_errors,
    idempotency,
    idempotency_key,
    let_in,
    source_of,
    take_quota,
)
from monitoring.api.lines import Messages
from monitoring.api.messages import FullExecution, ShortLog
from monitoring.recording import quota, schema, store, writer
from monitoring.recording.record import ExecutionRecord, Outcome, Result
from tenants import problems
from tenants.api_access import Access, ApiRequest

logger = logging.getLogger(__name__)

# A chunk is full at the first of these, so that memory stays flat whatever the lines hold.
_CHUNK_BYTES = 4 * 1024 * 1024
_CHUNK_NODES = 20_000
_GIVE_UP_AFTER = 2
"""Chunks that may fail in a row before the rest is not tried any more."""

_FAILED = "The database can't be reached, or refused this chunk; repeat the line."


class LineResult(msgspec.Struct):
    """What became of one line."""

    line: Annotated[int, msgspec.Meta(description="From 1; empty lines count.")]
    result: Annotated[
        Outcome,
        msgspec.Meta(description="rejected: don't repeat it; failed: repeat it."),
    ]
    id: uuid.UUID | None
    external_id: str | None
    reason: Annotated[
        str | None, msgspec.Meta(description="Why it was rejected or failed, else null.")
    ]


class Summary(msgspec.Struct):
    """How many lines had which result."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    failed: int = 0


class BatchAnswer(msgspec.Struct):
    """A result for every line that was not empty, in order."""

    summary: Summary
    results: list[LineResult]


@operation(
    "POST",
    "/api/executions/batch",
    name="executions-batch",
    capability="ingest.batch",
    access=Access("ingest"),
    subject="Ingest",
    query=(PUSH_ENVIRONMENT,),
    headers=(IDEMPOTENCY_KEY,),
    body=Body(
        (FullExecution, ShortLog),
        (NDJSON, JSON),
        {"both shapes": [examples.FULL_EXECUTION, {**examples.SHORT_LOG, "workflowId": "wf-7"}]},
        is_list=True,
    ),
    answers=(Answer(200, "A result for every line.", BatchAnswer, examples.BATCH_ANSWER),),
    problems=PROBLEMS,
)
def record_batch(request: ApiRequest) -> HttpResponse:
    """Record up to 10,000 executions in one call.

    Lines of JSON (`application/x-ndjson`) or one JSON array, of full executions and short logs
    (with `workflowId`) mixed, as they are or packed by gzip or zstd. Nothing is stored before the
    body was received whole; then lines are stored in chunks of at most 1,000, each all or nothing,
    and the answer comes after the last commit. A line that can't be read is rejected and harms
    no other. With an `Idempotency-Key` the same body can be sent again after any cut: nothing
    doubles.
    """
    let_in(request)
    content_type = demand_content_type(request, NDJSON, JSON)
    key = idempotency_key(request)
    try:
        source = source_of(request, PUSH_ENVIRONMENT.of(request))
    except schema.InvalidMessage as error:
        raise problems.unprocessable("Nothing was stored.", field_errors(error)) from None
    stream = BodyStream(request, settings.LIMITS.batch_bytes)
    counts: Counter[str] = Counter()
    encoded: list[bytes] = []
    why_failed: str | None = None
    with (
        place_for(request.tenant.pk),
        Messages(stream, is_array=content_type == JSON) as messages,
    ):
        take_quota(request, len(messages))
        for results in _stored(messages, request, source, key):
            counts.update(each.result.value for each in results)
            why_failed = next(
                (each.reason for each in results if each.result is Outcome.FAILED), why_failed
            )
            encoded.append(_encode_items(results))
    quota.give_back(request.tenant, counts[Outcome.REJECTED])
    if counts[Outcome.FAILED] and not _STORED & counts.keys():
        raise problems.unavailable(
            f"Nothing was stored; repeat the call. {why_failed or _FAILED}",
            writer.RETRY_AFTER_SECONDS,
        )
    return json_answer(
        {
            "summary": Summary(**counts),
            "results": msgspec.Raw(b"[" + b",".join(filter(None, encoded)) + b"]"),
        }
    )


_STORED = {Outcome.CREATED.value, Outcome.UPDATED.value, Outcome.UNCHANGED.value}


def _encode_items(results: list[LineResult]) -> bytes:
    """The JSON of some items of a list, without its brackets: 10,000 structs weigh more."""
    return msgspec.json.encode(results)[1:-1]


class _Chunk:
    """Lines that are stored together, and those in between that can't be stored at all."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, ExecutionRecord | str]] = []
        self._bytes = 0
        self._nodes = 0

    def add(self, line: int, entry: ExecutionRecord | str, size: int) -> None:
        """Add a record, or why there is none."""
        self.lines.append((line, entry))
        self._bytes += size
        self._nodes += 0 if isinstance(entry, str) else len(entry.nodes)

    @property
    def is_full(self) -> bool:
        return (
            len(self.lines) >= store.CHUNK
            or self._bytes >= _CHUNK_BYTES
            or self._nodes >= _CHUNK_NODES
        )


def _stored(
    messages: Messages, request: ApiRequest, source: schema.Source, key: str | None
) -> Iterator[list[LineResult]]:
    """Store all messages; yield the results of each chunk after its commit."""
    failures = 0
    for chunk in _chunks(messages, request, source, key):
        results = _store(chunk, may_try=failures < _GIVE_UP_AFTER)
        has_failed = any(each.result is Outcome.FAILED for each in results)
        failures = failures + 1 if has_failed else 0
        yield results


def _chunks(
    messages: Messages, request: ApiRequest, source: schema.Source, key: str | None
) -> Iterator[_Chunk]:
    chunk = _Chunk()
    for line, text in messages:
        entry = _record_or_reason(text, source)
        if key and text is not None and not isinstance(entry, str):
            entry.idempotency = idempotency(request, key, text, line)
        chunk.add(line, entry, len(text or b""))
        if chunk.is_full:
            yield chunk
            chunk = _Chunk()
    if chunk.lines:
        yield chunk


def _record_or_reason(text: bytes | None, source: schema.Source) -> ExecutionRecord | str:
    """The record of one line, or why it can't be one."""
    if text is None:
        return f"The line is longer than {settings.LIMITS.body_bytes:,} bytes."
    try:
        message: Any = schema.decode(text)
        if schema.is_short_log(message):
            return schema.short_log(message, text, source)
        return schema.full_execution(message, text, source)
    except (schema.NotJson, schema.InvalidMessage) as error:
        return str(error)


def _store(chunk: _Chunk, *, may_try: bool) -> list[LineResult]:
    records = [entry for _, entry in chunk.lines if not isinstance(entry, str)]
    stored = iter(_store_records(records) if may_try else [_failed(each) for each in records])
    return [
        LineResult(line, Outcome.REJECTED, None, None, entry)
        if isinstance(entry, str)
        else _line_result(line, next(stored))
        for line, entry in chunk.lines
    ]


def _store_records(records: list[ExecutionRecord]) -> list[Result]:
    try:
        return store.record_executions(records)
    except Error as error:
        logger.warning("A chunk of %d lines failed: %s", len(records), error)
        if not connection.in_atomic_block:
            # The next chunk must not meet a connection that this one broke.
            connection.close_if_unusable_or_obsolete()
        return [_failed(each) for each in records]


def _failed(record: ExecutionRecord) -> Result:
    return Result(Outcome.FAILED, external_id=record.external_id, reason=_FAILED)


def _line_result(line: int, result: Result) -> LineResult:
    return LineResult(line, result.outcome, result.id, result.external_id, result.reason)
