"""Executions as requirement 003 shows them: nodes are step logs, every answer has `success`."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from django.http import HttpResponse
from django.utils import timezone

from monitoring.api import examples
from monitoring.api.answers import (
    AUTOMATION,
    Done,
    LostContactAt,
    Milliseconds,
    Success,
    SuccessPage,
    json_answer,
    rounded,
    status_schema,
)
from monitoring.api.contents import Contents, contents_of, contents_of_many
from monitoring.api.endpoints import Answer, operation
from monitoring.api.executions import delete_execution
from monitoring.api.finding import (
    EXECUTION_CHOICE,
    environment_of,
    execution_of,
    measured_by,
    page_of,
    workflow_filter,
)
from monitoring.api.parameters import (
    CURSOR,
    END_DATE,
    ENVIRONMENT_ID,
    LIMIT,
    OFFSET,
    START_DATE,
    STATUS,
    WORKFLOW_ID,
    ZONE,
)
from monitoring.history import ExecutionQuery
from monitoring.metrics.ranges import Point
from monitoring.metrics.timerange import LONGEST, TimeRange
from monitoring.metrics.totals import Totals
from monitoring.metrics.trends import RankedWorkflow, overview_statistics
from monitoring.models import Execution, NodeExecution
from monitoring.recording.payload import Payload
from monitoring.words import Status
from tenants.api_access import Access, ApiRequest
from tenants.roles import Role

OVERVIEW_DAYS = 30
TOP_WORKFLOWS = 10

AutomationStatus = Annotated[str, status_schema(AUTOMATION)]


class StepLog(msgspec.Struct):
    """One node execution as a step."""

    id: Annotated[str, msgspec.Meta(description="Node id and run index.")]
    step_number: int
    step_type: str
    step_name: str
    status: AutomationStatus
    input_data: Any
    output_data: Any
    error: str | None
    started_at: dt.datetime | None
    completed_at: dt.datetime | None
    duration_ms: Milliseconds


class AutomationExecution(msgspec.Struct):
    """One execution."""

    id: uuid.UUID
    external_id: str | None
    tenant_id: int
    environment_id: int
    workflow_id: str
    workflow_name: str
    trigger_event: str | None
    trigger_data: Any
    status: AutomationStatus
    started_at: dt.datetime
    completed_at: dt.datetime | None
    duration_ms: Milliseconds
    result: Any
    error: str | None
    error_stack: str | None
    retry_count: int
    next_retry_at: dt.datetime | None
    created_at: dt.datetime
    lost_contact_at: LostContactAt
    contents_omitted: Annotated[
        bool,
        msgspec.Meta(
            description="In lists: true when trigger data and result did not fit into the page. "
            "Read the execution itself."
        ),
    ] = False


class AutomationExecutionWithLogs(AutomationExecution, kw_only=True):
    """One execution with its steps."""

    logs: list[StepLog]


class StepList(msgspec.Struct):
    """The steps of an execution."""

    data: list[StepLog]
    success: bool = True


class StatusCount(msgspec.Struct):
    """How many executions have a status and how long they took."""

    status: AutomationStatus
    count: int
    avg_duration: Milliseconds


class Day(msgspec.Struct):
    """One day (in the zone of the call)."""

    date: dt.date
    total: int
    completed: int
    failed: int


class TopWorkflow(msgspec.Struct):
    """One of the workflows with the most executions."""

    id: str
    name: str
    environment_id: int
    execution_count: int
    success_count: int
    failure_count: int
    avg_duration: Milliseconds


class Overview(msgspec.Struct, rename="camel"):
    """How many executions by status and by day, and the busiest workflows."""

    status_breakdown: list[StatusCount]
    daily_trend: list[Day]
    top_workflows: list[TopWorkflow]


@operation(
    "GET",
    "/api/workflow-executions",
    name="workflow-executions",
    capability="read.workflow-executions",
    access=Access("read"),
    subject="Workflow executions",
    query=(WORKFLOW_ID, ENVIRONMENT_ID, STATUS, START_DATE, END_DATE, LIMIT, OFFSET, CURSOR),
    answers=(
        Answer(
            200,
            "A page, newest first.",
            SuccessPage[AutomationExecution],
            {"success": True, **examples.page([examples.AUTOMATION_EXECUTION])},
        ),
    ),
    problems=(400, 409),
)
def list_workflow_executions(request: ApiRequest) -> HttpResponse:
    """List executions, in snake_case and with `success`."""
    rows, pagination = page_of(
        request,
        ExecutionQuery(
            workflow_ids=workflow_filter(request),
            environment_id=environment_of(request),
            statuses=STATUS.of(request),
            start=START_DATE.of(request),
            end=END_DATE.of(request),
        ),
    )
    contents = contents_of_many(rows, with_nodes=False)
    return json_answer(
        SuccessPage(
            [AutomationExecution(**_fields(row, contents[row.id])) for row in rows], pagination
        )
    )


@operation(
    "GET",
    "/api/workflow-executions/stats/overview",
    name="workflow-executions-overview",
    access=Access("read"),
    subject="Workflow executions",
    query=(WORKFLOW_ID, ENVIRONMENT_ID, START_DATE, END_DATE, ZONE),
    answers=(Answer(200, "The statistics.", Success[Overview], examples.OVERVIEW),),
    problems=(400, 409),
)
def show_overview(request: ApiRequest) -> HttpResponse:
    """Show statistics and trends of a range, by default the last 30 days.

    By status, by day and for the workflows with the most executions.
    """
    found = overview_statistics(measured_by(request), _range(request), limit=TOP_WORKFLOWS)
    return json_answer(
        Success(
            Overview(
                status_breakdown=_breakdown(found.totals),
                daily_trend=[_day(point, ZONE.of(request)) for point in found.daily],
                top_workflows=[_top(each) for each in found.top],
            )
        )
    )


@operation(
    "GET",
    "/api/workflow-executions/{execution_id}",
    name="workflow-execution",
    access=Access("read"),
    subject="Workflow executions",
    query=EXECUTION_CHOICE,
    answers=(
        Answer(
            200,
            "The execution.",
            Success[AutomationExecutionWithLogs],
            {
                "success": True,
                "data": {**examples.AUTOMATION_EXECUTION, "logs": [examples.STEP_LOG]},
            },
        ),
    ),
    problems=(404, 409),
)
def show_workflow_execution(request: ApiRequest, execution_id: str) -> HttpResponse:
    """Show one execution with its steps.

    The id is ours or the sender's.
    """
    execution = execution_of(request, execution_id)
    contents = contents_of(execution)
    return json_answer(
        Success(
            AutomationExecutionWithLogs(
                **_fields(execution, contents), logs=_steps(contents.nodes, contents.payload)
            )
        )
    )


@operation(
    "GET",
    "/api/workflow-executions/{execution_id}/logs",
    name="workflow-execution-logs",
    access=Access("read"),
    subject="Workflow executions",
    query=EXECUTION_CHOICE,
    answers=(
        Answer(
            200,
            "The steps.",
            StepList,
            {"success": True, "data": [examples.STEP_LOG]},
        ),
    ),
    problems=(404, 409),
)
def list_steps(request: ApiRequest, execution_id: str) -> HttpResponse:
    """List the steps of one execution: its node executions in their order."""
    contents = contents_of(execution_of(request, execution_id))
    return json_answer(StepList(_steps(contents.nodes, contents.payload)))


operation(
    "DELETE",
    "/api/workflow-executions/{execution_id}",
    name="workflow-execution",
    access=Access("write", Role.ADMIN),
    subject="Workflow executions",
    query=EXECUTION_CHOICE,
    answers=(Answer(200, "It is deleted.", Done, {"success": True}),),
    problems=(404, 409),
)(delete_execution)


def _fields(execution: Execution, contents: Contents) -> dict[str, Any]:
    payload = contents.payload
    return {
        "id": execution.id,
        "external_id": execution.external_id,
        "tenant_id": execution.tenant_id,
        "environment_id": execution.environment_id,
        "workflow_id": execution.workflow.external_id,
        "workflow_name": execution.workflow.name,
        "trigger_event": execution.trigger_type,
        "trigger_data": payload.trigger_data,
        "status": AUTOMATION[execution.state],
        "started_at": execution.started,
        "completed_at": execution.completed_at,
        "duration_ms": execution.duration_ms,
        "result": payload.result,
        "error": execution.error_message,
        "error_stack": payload.error_stack,
        # The first attempt is number 1 where senders count at all.
        "retry_count": max((execution.attempt or 1) - 1, 0),
        "next_retry_at": None,
        "created_at": execution.received_at,
        "lost_contact_at": execution.lost_contact_at,
        "contents_omitted": contents.is_omitted,
    }


def _steps(nodes: list[NodeExecution], payload: Payload) -> list[StepLog]:
    return [_step(number, node, payload) for number, node in enumerate(nodes, 1)]


def _step(number: int, node: NodeExecution, payload: Payload) -> StepLog:
    parts = payload.node(node.node_id, node.run_index)
    return StepLog(
        id=f"{node.node_id}:{node.run_index}",
        step_number=number,
        step_type=node.type or "action",
        step_name=node.name or node.node_id,
        status=AUTOMATION[Status(node.status)],
        input_data=parts.input,
        output_data=parts.output,
        error=node.error_message,
        started_at=node.started_at,
        completed_at=node.completed_at,
        duration_ms=node.duration_ms,
    )


# --- statistics ---------------------------------------------------------------------------------


def _range(request: ApiRequest) -> TimeRange:
    """What `startDate` and `endDate` ask for; either may be left out."""
    start, end = START_DATE.of(request), END_DATE.of(request)
    last = end or timezone.now()
    first = start or last - dt.timedelta(days=OVERVIEW_DAYS)
    if first >= last:
        raise START_DATE.refusal("must lie before endDate")
    if last - first > LONGEST:
        raise START_DATE.refusal(f"a range can span at most {LONGEST.days:,} days")
    return TimeRange(first, last, ZoneInfo(ZONE.of(request)))


def _breakdown(totals: Totals) -> list[StatusCount]:
    return [
        StatusCount(AUTOMATION[status], count, rounded(totals.average_ms_of(status)))
        for status, count in totals.by_status.items()
    ]


def _day(point: Point, zone: str) -> Day:
    return Day(
        date=point.start.astimezone(ZoneInfo(zone)).date(),
        total=point.totals.total,
        completed=point.totals.succeeded,
        failed=point.totals.failed,
    )


def _top(ranked: RankedWorkflow) -> TopWorkflow:
    return TopWorkflow(
        id=ranked.workflow.external_id,
        name=ranked.workflow.name,
        environment_id=ranked.workflow.environment_id,
        execution_count=ranked.totals.total,
        success_count=ranked.totals.succeeded,
        failure_count=ranked.totals.failed,
        avg_duration=rounded(ranked.totals.average_ms),
    )
