"""Executions as requirement 004 shows them: snake_case, with provider, class and severity."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated

import msgspec
from django.http import HttpResponse

from monitoring.api import examples
from monitoring.api.answers import (
    OBSERVABILITY,
    LostContactAt,
    Milliseconds,
    Page,
    json_answer,
    status_schema,
)
from monitoring.api.endpoints import Answer, operation
from monitoring.api.executions import error_class_slug, severity_slug
from monitoring.api.finding import environment_of, page_of, workflow_filter
from monitoring.api.parameters import (
    CURSOR,
    END,
    ENVIRONMENT_ID,
    LIMIT,
    OFFSET,
    START,
    STATUS,
    WORKFLOW_ID_SNAKE,
)
from monitoring.history import ExecutionQuery
from monitoring.models import Execution
from monitoring.words import Status
from tenants.api_access import Access, ApiRequest

ObservedStatus = Annotated[str, status_schema(OBSERVABILITY)]


class ObservedExecution(msgspec.Struct):
    """One execution."""

    id: uuid.UUID
    tenant_id: int
    environment_id: int
    provider: str
    workflow_id: str
    workflow_name: str
    external_id: str | None
    n8n_execution_id: Annotated[
        str | None, msgspec.Meta(description="The provider's id, whatever the provider.")
    ]
    status: ObservedStatus
    normalized_status: ObservedStatus
    started_at: dt.datetime
    finished_at: dt.datetime | None
    execution_time: Milliseconds
    error_message: str | None
    error_node: str | None
    error_class: str | None
    severity: str | None
    mode: str | None
    lost_contact_at: LostContactAt
    created_at: dt.datetime
    updated_at: dt.datetime


@operation(
    "GET",
    "/api/v1/executions",
    name="v1-executions",
    access=Access("read"),
    subject="Observability",
    query=(STATUS, WORKFLOW_ID_SNAKE, ENVIRONMENT_ID, START, END, LIMIT, OFFSET, CURSOR),
    answers=(
        Answer(
            200,
            "A page, newest first.",
            Page[ObservedExecution],
            examples.page([examples.OBSERVED_EXECUTION]),
        ),
    ),
    problems=(400, 409),
)
def list_observed_executions(request: ApiRequest) -> HttpResponse:
    """List executions in snake_case, with provider, error class and severity.

    `error` here means failed and partial, also as a filter.
    """
    rows, pagination = page_of(
        request,
        ExecutionQuery(
            workflow_ids=workflow_filter(request, WORKFLOW_ID_SNAKE),
            environment_id=environment_of(request),
            statuses=_with_partial(request),
            start=START.of(request),
            end=END.of(request),
        ),
    )
    return json_answer(Page([_observed(row) for row in rows], pagination))


def _with_partial(request: ApiRequest) -> frozenset[Status]:
    statuses = STATUS.of(request)
    words = (request.GET.get(STATUS.name) or "").lower().split(",")
    return statuses | {Status.PARTIAL} if "error" in map(str.strip, words) else statuses


def _observed(execution: Execution) -> ObservedExecution:
    word = OBSERVABILITY[execution.state]
    return ObservedExecution(
        id=execution.id,
        tenant_id=execution.tenant_id,
        environment_id=execution.environment_id,
        provider=execution.environment.provider,
        workflow_id=execution.workflow.external_id,
        workflow_name=execution.workflow.name,
        external_id=execution.external_id,
        n8n_execution_id=execution.external_id,
        status=word,
        normalized_status=word,
        started_at=execution.started,
        finished_at=execution.completed_at,
        execution_time=execution.duration_ms,
        error_message=execution.error_message,
        error_node=execution.error_node_name or execution.error_node_id,
        error_class=error_class_slug(execution),
        severity=severity_slug(execution),
        mode=execution.trigger_type,
        lost_contact_at=execution.lost_contact_at,
        created_at=execution.received_at,
        updated_at=execution.changed_at,
    )
