"""How a filter is answered: ranges of one index each, and a rest to compare row by row."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from django.db.models import F, Q
from django.db.models.expressions import RawSQL
from django.db.models.functions import Left
from django.db.models.lookups import IContains

from monitoring.error_search import LOOKED_AT, error_match
from monitoring.history.query import ExecutionQuery
from monitoring.models import Execution, Workflow
from monitoring.models.execution import ExecutionQuerySet
from monitoring.words import PROBLEMS, Status

MOST_BRANCHES: Final = 12

_Branch: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """Disjoint ranges of an index, and what else must hold (None: nothing, so it is exact)."""

    branches: list[ExecutionQuerySet]
    rest: Q | None
    keeps_plan: bool
    """Whether its statements have few different texts, so that they may be prepared."""


def plan_of(query: ExecutionQuery) -> Plan:
    """Split a filter into ranges of an index and a rest."""
    branches, rest = _branches(query)
    rest &= _never_indexed(query)
    ranged = [
        Execution.objects.filter(**branch).started_between(query.start, query.end)
        for branch in branches
    ]
    return Plan(ranged, rest if rest else None, keeps_plan=query.ids is None)


def _branches(query: ExecutionQuery) -> tuple[list[_Branch], Q]:
    """Choose the narrowest index; return its ranges and what remains of the filters it knows."""
    workflow_ids = query.workflow_ids
    if workflow_ids and query.environment_id is not None:
        workflow_ids = _within_environment(workflow_ids, query.environment_id)
        if not workflow_ids:
            return [], Q()
    subject = _subject(workflow_ids, query.environment_id)
    statuses = _with_lost(query)
    status = Q(status__in=statuses) if statuses else Q()
    if query.ids is not None:
        branches: list[_Branch] = [{"id__in": query.ids}] if query.ids else []
        return branches, subject & status & _of_error(query) & _says(query.error_text)
    if query.fingerprint is not None:
        return [{"fingerprint": query.fingerprint}], subject & status & _says(query.error_text)
    if not query.error_text:
        return _by_index(workflow_ids, query.environment_id, statuses, status)
    match = error_match(query.error_text)
    says = Q() if match.is_exact else _says(query.error_text)
    if match.fingerprints is not None:
        return [{"fingerprint": one} for one in match.fingerprints], subject & status & says
    failures = statuses or PROBLEMS
    branches, rest = _by_index(workflow_ids, query.environment_id, failures, Q(status__in=failures))
    return branches, rest & says


def _by_index(
    workflow_ids: tuple[int, ...],
    environment_id: int | None,
    statuses: frozenset[Status],
    status: Q,
) -> tuple[list[_Branch], Q]:
    """Ranges of the indexes over workflow, environment and status, and what they leave to compare.

    Successes are nearly all rows and have no index over status: they are compared.
    """
    indexed = sorted(statuses) if Status.SUCCESS not in statuses else []
    if workflow_ids and len(workflow_ids) * len(indexed) <= MOST_BRANCHES and indexed:
        pairs = itertools.product(workflow_ids, map(_in_the_text, indexed))
        return [{"workflow_id": workflow, "status": one} for workflow, one in pairs], Q()
    if workflow_ids and len(workflow_ids) <= MOST_BRANCHES:
        return [{"workflow_id": workflow} for workflow in workflow_ids], status
    if indexed:
        subject = _subject(workflow_ids, environment_id)
        return [{"status": _in_the_text(one)} for one in indexed], subject
    if environment_id is not None:
        return [{"environment_id": environment_id}], status & _subject(workflow_ids, None)
    return [{}], status & _subject(workflow_ids, None)


def _in_the_text(status: Status) -> RawSQL:
    """The number as a part of the statement: only then a plan that is kept may use the partial index."""
    return RawSQL(str(int(status)), ())  # noqa: S611 - a number of ours


def _subject(workflow_ids: tuple[int, ...], environment_id: int | None) -> Q:
    """Workflows decide alone: each belongs to one environment."""
    if workflow_ids:
        return Q(workflow_id__in=workflow_ids)
    return Q() if environment_id is None else Q(environment_id=environment_id)


def _within_environment(workflow_ids: tuple[int, ...], environment_id: int) -> tuple[int, ...]:
    inside = Workflow.objects.filter(id__in=workflow_ids, environment_id=environment_id)
    return tuple(inside.order_by("id").values_list("id", flat=True))


def _of_error(query: ExecutionQuery) -> Q:
    return Q() if query.fingerprint is None else Q(fingerprint=query.fingerprint)


def _says(text: str) -> Q:
    """Compare the beginning of the message; a long one is not unpacked whole."""
    if not text:
        return Q()
    return Q(IContains(Left(F("error_message"), LOOKED_AT), text.strip()))


def _with_lost(query: ExecutionQuery) -> frozenset[Status]:
    """The statuses to look through: those that lost contact are among the running ones."""
    return query.statuses | {Status.RUNNING} if query.lost else query.statuses


def _never_indexed(query: ExecutionQuery) -> Q:
    rest = Q()
    if query.lost and Status.RUNNING not in query.statuses:
        rest &= ~Q(status=Status.RUNNING) | Q(lost_contact_at__isnull=False)
    if query.trigger:
        rest &= Q(trigger_type=query.trigger)
    if query.version:
        rest &= Q(version=query.version)
    if query.tag:
        rest &= Q(tags__contains=[query.tag])
    if query.min_duration_ms is not None:
        rest &= Q(duration_ms__gte=query.min_duration_ms)
    if query.max_duration_ms is not None:
        rest &= Q(duration_ms__lte=query.max_duration_ms)
    return rest
