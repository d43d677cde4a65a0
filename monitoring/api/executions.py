"""Executions with their nodes, in camelCase (requirement 002)."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Any

import msgspec
from django.db import transaction
from django.http import HttpResponse

from monitoring.api import examples
from monitoring.api.answers import (
    EDITOR,
    Done,
    LostContactAt,
    Milliseconds,
    Page,
    json_answer,
    status_schema,
)
from monitoring.api.contents import Contents, contents_of, contents_of_many
from monitoring.api.endpoints import Answer, operation
from monitoring.api.finding import (
    EXECUTION_CHOICE,
    environment_of,
    execution_of,
    page_of,
    workflow_filter,
)
from monitoring.api.messages import Failure, NodeFailure, Parent, Trigger
from monitoring.api.parameters import (
    CURSOR,
    END_DATE,
    ENVIRONMENT_ID,
    LIMIT,
    OFFSET,
    START_DATE,
    STATUS,
    WORKFLOW_ID,
)
from monitoring.deletion import delete_executions
from monitoring.history import ExecutionQuery
from monitoring.models import Execution, NodeExecution
from monitoring.recording.payload import Payload
from monitoring.words import ErrorClass, Severity, Status
from tenants import audit, problems
from tenants.api_access import Access, ApiRequest
from tenants.roles import Role

EditorStatus = Annotated[str, status_schema(EDITOR)]


class EditorNode(msgspec.Struct, rename="camel"):
    """One run of one node."""

    node_id: str
    node_name: str
    node_type: str | None
    run_index: int
    status: EditorStatus
    started_at: dt.datetime | None
    completed_at: dt.datetime | None
    duration_ms: Milliseconds
    attempt: int | None
    input: Any
    output: Any
    error: NodeFailure | None


class EditorExecution(msgspec.Struct, rename="camel"):
    """One execution."""

    id: uuid.UUID
    external_id: str | None
    environment_id: int
    workflow_id: str
    workflow_name: str
    status: EditorStatus
    started_at: dt.datetime
    completed_at: dt.datetime | None
    duration_ms: Milliseconds
    trigger: Trigger
    node_executions: list[EditorNode]
    error: Failure | None
    error_class: str | None
    severity: str | None
    result: Any
    attempt: int | None
    retry_of: str | None
    parent: Parent | None
    version: str | None
    tags: list[str]
    keys: dict[str, str]
    created_at: dt.datetime
    lost_contact_at: LostContactAt
    contents_omitted: Annotated[
        bool,
        msgspec.Meta(
            description="In lists: true when nodes, trigger data and result did not fit into the "
            "page. Read the execution itself."
        ),
    ] = False


@operation(
    "GET",
    "/api/executions",
    name="executions",
    capability="read.executions",
    access=Access("read"),
    subject="Executions",
    query=(WORKFLOW_ID, ENVIRONMENT_ID, STATUS, START_DATE, END_DATE, LIMIT, OFFSET, CURSOR),
    answers=(
        Answer(
            200,
            "A page, newest first.",
            Page[EditorExecution],
            examples.page([examples.EDITOR_EXECUTION]),
        ),
    ),
    problems=(400, 409),
)
def list_executions(request: ApiRequest) -> HttpResponse:
    """List executions with their nodes.

    Names are camelCase. Rows whose contents would make the page too heavy come without them and
    say so.
    """
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
    contents = contents_of_many(rows)
    return json_answer(Page([editor_execution(row, contents[row.id]) for row in rows], pagination))


@operation(
    "GET",
    "/api/executions/{execution_id}",
    name="execution",
    access=Access("read"),
    subject="Executions",
    query=EXECUTION_CHOICE,
    answers=(Answer(200, "The execution.", EditorExecution, examples.EDITOR_EXECUTION),),
    problems=(404, 409),
)
def show_execution(request: ApiRequest, execution_id: str) -> HttpResponse:
    """Show one execution with everything about it.

    The id is ours or the sender's.
    """
    execution = execution_of(request, execution_id)
    return json_answer(editor_execution(execution, contents_of(execution)))


@operation(
    "DELETE",
    "/api/executions/{execution_id}",
    name="execution",
    access=Access("write", Role.ADMIN),
    subject="Executions",
    query=EXECUTION_CHOICE,
    answers=(Answer(200, "It is deleted.", Done, {"success": True}),),
    problems=(404, 409),
)
def delete_execution(request: ApiRequest, execution_id: str) -> HttpResponse:
    """Delete one execution.

    Its nodes, its ids and its part in all numbers go with it.
    """
    execution = execution_of(request, execution_id)
    with transaction.atomic():
        if not delete_executions(request.tenant.pk, [execution.id]):
            # Somebody else was faster.
            raise problems.not_found()
        audit.record(
            "execution.delete",
            tenant=request.tenant,
            request=request,
            subject=str(execution.id),
            external_id=execution.external_id,
            workflow_id=execution.workflow.external_id,
        )
    return json_answer(Done())


def editor_execution(execution: Execution, contents: Contents) -> EditorExecution:
    """An execution in the shape of requirement 002."""
    payload = contents.payload
    return EditorExecution(
        id=execution.id,
        external_id=execution.external_id,
        environment_id=execution.environment_id,
        workflow_id=execution.workflow.external_id,
        workflow_name=execution.workflow.name,
        status=EDITOR[execution.state],
        started_at=execution.started,
        completed_at=execution.completed_at,
        duration_ms=execution.duration_ms,
        trigger=Trigger(type=execution.trigger_type, data=payload.trigger_data),
        node_executions=[_editor_node(node, payload) for node in contents.nodes],
        error=_failure(execution, payload),
        error_class=error_class_slug(execution),
        severity=severity_slug(execution),
        result=payload.result,
        attempt=execution.attempt,
        retry_of=execution.retry_of,
        parent=_parent(execution),
        version=execution.version,
        tags=execution.tags or [],
        keys=execution.keys or {},
        created_at=execution.received_at,
        lost_contact_at=execution.lost_contact_at,
        contents_omitted=contents.is_omitted,
    )


def _editor_node(node: NodeExecution, payload: Payload) -> EditorNode:
    parts = payload.node(node.node_id, node.run_index)
    has_error = node.error_message is not None or parts.error_stack is not None
    return EditorNode(
        node_id=node.node_id,
        node_name=node.name or node.node_id,
        node_type=node.type,
        run_index=node.run_index,
        status=EDITOR[Status(node.status)],
        started_at=node.started_at,
        completed_at=node.completed_at,
        duration_ms=node.duration_ms,
        attempt=node.attempt,
        input=parts.input,
        output=parts.output,
        error=NodeFailure(node.error_message, parts.error_stack) if has_error else None,
    )


def _failure(execution: Execution, payload: Payload) -> Failure | None:
    told = (execution.error_message, payload.error_stack, execution.error_node_id)
    return None if told == (None, None, None) else Failure(*told)


def _parent(execution: Execution) -> Parent | None:
    told = (execution.parent_execution_id, execution.parent_node_id)
    return None if told == (None, None) else Parent(*told)


def error_class_slug(execution: Execution) -> str | None:
    """The word for the class of an execution's error, None without one."""
    return None if execution.error_class is None else ErrorClass(execution.error_class).slug


def severity_slug(execution: Execution) -> str | None:
    """The word for the severity of an execution's error, None without one."""
    return None if execution.severity is None else Severity(execution.severity).slug
