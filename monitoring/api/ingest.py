"""What senders push: one short log, one full execution, or an n8n error workflow's call.

Thin on purpose: read the body, let `recording.schema` make it a record, hand it to the writer,
which answers after the commit.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from monitoring import disk
from monitoring.api import examples
from monitoring.api.answers import json_answer
from monitoring.api.bodies import JSON, demand_content_type, read_body
from monitoring.api.endpoints import Answer, Body, operation
from monitoring.api.messages import ErrorWorkflowCall, FullExecution, ShortLog
from monitoring.api.parameters import ENVIRONMENT_ID, Parameter, clean_text
from monitoring.providers.n8n import error_workflow
from monitoring.recording import quota, schema, writer
from monitoring.recording.environments import source_for
from monitoring.recording.record import ExecutionRecord, Idempotency, Outcome, Result
from tenants import problems
from tenants.api_access import Access, ApiRequest
from tenants.problems import FieldError, Problem

_DIGEST_BYTES = 16
_VISIBLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

IDEMPOTENCY_KEY: Parameter[str] = Parameter(
    "Idempotency-Key",
    "At most 255 visible characters. The same call with the same key is stored once; with another "
    "body it is 422. In a batch it holds for each line.",
    {"type": "string", "maxLength": settings.LIMITS.text},
    str,
    "",
    place="header",
)
PUSH_ENVIRONMENT: Parameter[int | None] = Parameter(
    "environment_id",
    "The environment that ran it, when the token is not bound to one and the body names none.",
    ENVIRONMENT_ID.schema,
    ENVIRONMENT_ID.parse,
    None,
)
PROBLEMS = (400, 408, 413, 415, 422, 429, 503)


class Recorded(msgspec.Struct):
    """What became of a message."""

    id: Annotated[uuid.UUID | None, msgspec.Meta(description="Our id.")]
    external_id: Annotated[str | None, msgspec.Meta(description="The sender's id.")]
    created: Annotated[
        bool, msgspec.Meta(description="False: it was known, and updated where this told more.")
    ]
    success: bool = True


_ANSWERS = (
    Answer(201, "It is new and stored.", Recorded, examples.RECORDED),
    Answer(
        200,
        "It was known: updated, or unchanged.",
        Recorded,
        {**examples.RECORDED, "created": False},
    ),
)


@operation(
    "POST",
    "/api/executions",
    name="executions",
    capability="ingest.execution ingest.partial-updates",
    access=Access("ingest"),
    subject="Ingest",
    query=(PUSH_ENVIRONMENT,),
    headers=(IDEMPOTENCY_KEY,),
    body=Body((FullExecution,), (JSON,), {"execution": examples.FULL_EXECUTION}),
    answers=_ANSWERS,
    problems=PROBLEMS,
)
def record_full_execution(request: ApiRequest) -> HttpResponse:
    """Record one execution with its nodes.

    Send it as often as you like while it runs: messages with the same id (in a workflow of an
    environment) are one execution, in whatever order they arrive. Field names may be camelCase or
    snake_case; unknown fields are kept. The answer comes after the commit.
    """
    return _recorded(request, schema.full_execution)


@operation(
    "POST",
    "/api/workflows/{workflow_id}/executions",
    name="workflow-executions-of",
    capability="ingest.short-log",
    access=Access("ingest"),
    subject="Ingest",
    query=(PUSH_ENVIRONMENT,),
    headers=(IDEMPOTENCY_KEY,),
    body=Body((ShortLog,), (JSON,), {"failure": examples.SHORT_LOG}),
    answers=_ANSWERS,
    problems=PROBLEMS,
)
def record_short_log(request: ApiRequest, workflow_id: str) -> HttpResponse:
    """Record one finished run of a workflow as a short log.

    The shape that a GoHighLevel webhook sends. Unknown fields are kept in the raw log. The failed
    action becomes one failed node execution.
    """
    name = clean_text(workflow_id)

    def short_log(message: Any, body: bytes, source: schema.Source) -> ExecutionRecord:
        return schema.short_log(message, body, source, workflow_id=name)

    return _recorded(request, short_log)


@operation(
    "POST",
    "/api/n8n/error-workflow",
    name="n8n-error-workflow",
    capability="ingest.n8n-error-workflow",
    access=Access("ingest"),
    subject="Ingest",
    query=(PUSH_ENVIRONMENT,),
    headers=(IDEMPOTENCY_KEY,),
    body=Body((ErrorWorkflowCall,), (JSON,), {"failure": examples.ERROR_WORKFLOW_CALL}),
    answers=_ANSWERS,
    problems=PROBLEMS,
)
def record_error_workflow(request: ApiRequest) -> HttpResponse:
    """Record what an n8n error workflow posts.

    In n8n: an Error Trigger, then an HTTP Request that sends `{{ $json }}` here. The environment is
    the token's, else the one whose address has the host of `execution.url`.
    """
    return _recorded(request, error_workflow.execution_of, matches_environment=True)


_Reader = Callable[[Any, bytes, schema.Source], ExecutionRecord]


def _recorded(
    request: ApiRequest, read: _Reader, *, matches_environment: bool = False
) -> HttpResponse:
    let_in(request)
    demand_content_type(request, JSON)
    key = idempotency_key(request)
    body = read_body(request, settings.LIMITS.body_bytes)
    try:
        message = schema.decode(body)
        environment_id = PUSH_ENVIRONMENT.of(request)
        if matches_environment and environment_id is None:
            environment_id = error_workflow.environment_of(message, request.tenant)
        record = read(message, body, source_of(request, environment_id))
    except schema.NotJson as error:
        raise problems.bad_request(str(error), kind="not-json") from None
    except schema.InvalidMessage as error:
        raise problems.unprocessable(
            "The message breaks the schema; nothing was stored.", field_errors(error)
        ) from None
    if key:
        record.idempotency = idempotency(request, key, body)
    take_quota(request, 1)
    try:
        result = writer.record(record)
    except writer.Overloaded as error:
        raise problems.unavailable(str(error), writer.RETRY_AFTER_SECONDS) from error
    answer = recorded(request, result)
    return json_answer(answer, 201 if answer.created else 200)


def let_in(request: ApiRequest) -> None:
    """Refuse what can't be stored, before any work is done for it. Raises 429 or 503."""
    disk.demand_room()
    try:
        quota.demand_room(request.tenant)
    except quota.QuotaExceededError as error:
        raise problems.too_many(str(error), error.retry_after) from None


def take_quota(request: ApiRequest, messages: int) -> None:
    """Count what a call brings, before it is stored. Raises 429 when the quota is used up."""
    try:
        quota.take(request.tenant, messages)
    except quota.QuotaExceededError as error:
        raise problems.too_many(str(error), error.retry_after) from None


def recorded(request: ApiRequest, result: Result) -> Recorded:
    """What became of a message, for its sender. Raises 422 or 503 where it was not stored."""
    if result.outcome is Outcome.FAILED:
        raise problems.unavailable(
            result.reason or "It could not be stored.", writer.RETRY_AFTER_SECONDS
        )
    if result.outcome is Outcome.REJECTED:
        quota.give_back(request.tenant, 1)
        raise _rejection(result)
    return Recorded(id=result.id, external_id=result.external_id, created=result.created)


def _rejection(result: Result) -> Problem:
    """422 for what the store refused for good."""
    reason = result.reason or "The message can't be stored."
    place: list[str | int] = (
        ["header", IDEMPOTENCY_KEY.name] if result.kind == "key-reused" else ["body"]
    )
    return problems.unprocessable(
        reason, [{"loc": place, "msg": reason}], kind=result.kind or "unprocessable"
    )


def source_of(request: ApiRequest, environment_id: int | None) -> schema.Source:
    """Where a call's messages come from. Raises schema.InvalidMessage."""
    bound = request.token.environment_id if request.token else None
    return source_for(request.tenant.pk, bound, None if bound else environment_id)


def field_errors(error: schema.InvalidMessage) -> list[FieldError]:
    """What is wrong with a message, with places as lists."""
    return [{"loc": place_of(each.loc), "msg": each.msg} for each in error.errors]


def place_of(loc: str) -> list[str | int]:
    """`nodeExecutions.3.status` as a list; numbers are positions in lists."""
    parts = loc.split(".") if loc else []
    return ["body", *(int(part) if part.isdecimal() else part for part in parts)]


def idempotency_key(request: HttpRequest) -> str | None:
    """The call's `Idempotency-Key`, None without one; raises 422 for one that can't be kept."""
    key: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return None
    if len(key) > settings.LIMITS.text or not _VISIBLE.fullmatch(key):
        msg = f"must be 1 to {settings.LIMITS.text} visible characters"
        raise problems.unprocessable(
            f"The Idempotency-Key {msg}.",
            [{"loc": ["header", IDEMPOTENCY_KEY.name], "msg": msg}],
            kind="bad-idempotency-key",
        )
    return key


def idempotency(request: HttpRequest, key: str, body: bytes, line: int = 0) -> Idempotency:
    """What the store remembers of a key: it holds for its path and line; `body` is the message."""
    place = f"{line}\n{key}\n{request.path}".encode("utf-8", "surrogatepass")
    return Idempotency(
        digest=hashlib.blake2b(place, digest_size=_DIGEST_BYTES).digest(),
        body_digest=hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest(),
    )
