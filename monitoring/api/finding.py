"""What a call is about: the environment, workflow or execution that it names, or a page of them.

Unknown and another tenant's are 404 alike; several matches are 409 with the candidates. A token
that is bound to an environment sees that one only.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from monitoring import history
from monitoring.api.answers import Pagination
from monitoring.api.parameters import (
    CURSOR,
    ENVIRONMENT_ID,
    LIMIT,
    OFFSET,
    WORKFLOW_ID,
    WORKFLOW_ID_SNAKE,
    Parameter,
    clean_id,
)
from monitoring.history import ExecutionQuery
from monitoring.metrics.ranges import totals_of_spans
from monitoring.metrics.subject import Measured
from monitoring.models import Environment, Execution, Subject, Workflow
from monitoring.words import Status
from tenants import problems
from tenants.api_access import ApiRequest
from tenants.problems import Problem

_BEGINNING = dt.datetime(1999, 1, 1, tzinfo=dt.UTC)
_MOST_CANDIDATES = 20
# No row has this id: it stands for a workflow that is filtered for and unknown.
_NO_WORKFLOW = 0

EXECUTION_CHOICE = (WORKFLOW_ID, ENVIRONMENT_ID)
"""Parameters that decide between executions with the same sender's id."""


def environment_of(request: ApiRequest) -> int | None:
    """The environment that a call is limited to, None for all. Raises 404."""
    wanted = ENVIRONMENT_ID.of(request)
    bound = request.token.environment_id if request.token else None
    if bound is not None and wanted not in (None, bound):
        raise problems.not_found()
    return bound or wanted


def workflow_of(request: ApiRequest, external_id: str) -> Workflow:
    """The workflow that a path names. Raises 404 or 409."""
    found = _workflows(request, external_id)
    if not found:
        raise problems.not_found()
    return found[0]


def workflow_filter(
    request: ApiRequest, parameter: Parameter[str] = WORKFLOW_ID
) -> tuple[int, ...]:
    """What `workflowId=` limits a list to, () for all; unknown matches nothing. Raises 409."""
    external_id = parameter.of(request)
    if not external_id:
        return ()
    found = _workflows(request, external_id)
    return (found[0].pk,) if found else (_NO_WORKFLOW,)


def workflows_of(request: ApiRequest, external_ids: Iterable[str]) -> dict[str, Workflow]:
    """The workflows of external ids, found in one question; unknown ids are left out. Raises 409."""
    cleaned = {text: clean_id(text) for text in external_ids}
    matches = _known(request).filter(external_id__in=[each for each in cleaned.values() if each])
    by_id: dict[str | None, list[Workflow]] = {}
    for workflow in matches.order_by("id"):
        by_id.setdefault(workflow.external_id, []).append(workflow)
    found = {text: by_id[each] for text, each in cleaned.items() if each in by_id}
    return {text: _only(candidates) for text, candidates in found.items()}


def _workflows(request: ApiRequest, text: str) -> list[Workflow]:
    """The one workflow of that external id, or none."""
    external_id = clean_id(text)
    if external_id is None:
        return []
    found = _known(request).filter(external_id=external_id)
    candidates = list(found.order_by("id")[:_MOST_CANDIDATES])
    return [_only(candidates)] if candidates else []


def _known(request: ApiRequest) -> QuerySet[Workflow]:
    """The workflows that a call may be about."""
    known = Workflow.objects.select_related("environment")
    environment_id = environment_of(request)
    return known if environment_id is None else known.filter(environment_id=environment_id)


def _only(candidates: Sequence[Workflow]) -> Workflow:
    """The workflow of an id; 409 when several environments know it."""
    if len(candidates) > 1:
        raise problems.conflict(
            "Several environments know this workflow id: pass environment_id.",
            candidates=[_workflow_candidate(each) for each in candidates[:_MOST_CANDIDATES]],
            kind="ambiguous",
        )
    return candidates[0]


def _workflow_candidate(workflow: Workflow) -> dict[str, Any]:
    return {
        "workflow_id": workflow.external_id,
        "name": workflow.name,
        **_environment_candidate(workflow.environment),
    }


def _environment_candidate(environment: Environment) -> dict[str, Any]:
    return {"environment_id": environment.pk, "environment_name": environment.name}


def execution_of(request: ApiRequest, text: str) -> Execution:
    """The execution that a path names by our id or the sender's, without payload.

    Raises 404, or 409 when several have the sender's id.
    """
    wanted = clean_id(text)
    if wanted is None:
        raise problems.not_found()
    workflow_ids = workflow_filter(request) or workflow_filter(request, WORKFLOW_ID_SNAKE)
    found = history.find_by_any_id(
        wanted, workflow_ids=workflow_ids, environment_id=environment_of(request)
    )
    if not found:
        raise problems.not_found()
    if len(found) > 1:
        raise problems.conflict(
            "Several executions have this id: pass workflowId and environment_id, or our id.",
            candidates=[_execution_candidate(each) for each in found],
            kind="ambiguous",
        )
    return found[0]


def _execution_candidate(execution: Execution) -> dict[str, Any]:
    return {
        "id": str(execution.id),
        "external_id": execution.external_id,
        "workflow_id": execution.workflow.external_id,
        **_environment_candidate(execution.environment),
        "started_at": execution.started.isoformat(),
    }


def page_of(request: ApiRequest, query: ExecutionQuery) -> tuple[list[Execution], Pagination]:
    """The page of the history that a call asks for. Raises 400 for a broken cursor."""
    limit, offset, cursor = LIMIT.of(request), OFFSET.of(request), CURSOR.of(request)
    try:
        page = history.page(query, after=cursor or None, offset=offset, limit=limit)
    except history.BrokenCursor as error:
        raise broken_cursor(str(error)) from None
    return page.rows, Pagination(
        total=total_of(request, query),
        limit=limit,
        offset=offset,
        has_more=page.older is not None,
        next_cursor=page.older,
        searched_to=page.searched_to,
    )


def broken_cursor(detail: str = "This cursor was not made here; begin without one.") -> Problem:
    """400 for a cursor that no page gave."""
    return Problem(
        400,
        "broken-cursor",
        "The request could not be read",
        detail,
        errors=[{"loc": ["query", CURSOR.name], "msg": detail}],
    )


def total_of(request: ApiRequest, query: ExecutionQuery) -> int | None:
    """How many executions match, from rollups; None where they can't tell exactly."""
    if not query.is_answered_by_rollups or len(query.workflow_ids) > 1:
        return None
    start = query.start or _BEGINNING
    end = query.end or timezone.now() + dt.timedelta(days=2)
    if start >= end:
        return 0
    subject = _measured(request, query.workflow_ids, query.environment_id)
    counted = totals_of_spans(subject, [(start, end)], percentiles=False)[0]
    return count_of(counted.counts, query.statuses) if counted.exact else None


def count_of(counts: Sequence[int], statuses: Collection[Status]) -> int:
    """The sum of the counts of some statuses, of all when none is given."""
    return sum(counts[status] for status in statuses or Status)


def measured_by(request: ApiRequest, parameter: Parameter[str] = WORKFLOW_ID) -> Measured:
    """What a call asks the numbers of: workflow, environment or tenant. Raises 404 or 409."""
    return _measured(request, workflow_filter(request, parameter), environment_of(request))


def _measured(
    request: ApiRequest, workflow_ids: Sequence[int], environment_id: int | None
) -> Measured:
    if workflow_ids:
        return Measured(Subject.WORKFLOW, workflow_ids[0])
    if environment_id is not None:
        return Measured(Subject.ENVIRONMENT, environment_id)
    return Measured(Subject.TENANT, request.tenant.pk)
