"""Why an execution failed, in one box: what was said, how often, and when it last went well."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from monitoring import history
from monitoring.history import SameError
from monitoring.models import Execution, NodeExecution
from monitoring.pages.execution_place import ExecutionPlace
from monitoring.pages.rows import reason
from monitoring.prepared import prepared
from monitoring.words import ErrorClass, Severity, Status

LATELY: Final = dt.timedelta(days=7)
_LATELY_PRESET: Final = "7d"
_SAID: Final = 2_000


@dataclass(frozen=True, slots=True)
class LastSuccess:
    """The newest success of the workflow before this run; `node_ms`: what the failing node took."""

    started: dt.datetime
    url: str
    duration_ms: int | None
    node_ms: int | None


@dataclass(frozen=True, slots=True)
class Why:
    """What the box says; `same` counts executions with this error in the last 7 days."""

    said: str
    is_bad: bool
    error_class: str
    severity: str | None
    same: SameError | None
    same_url: str
    last_success: LastSuccess | None


def why_of(place: ExecutionPlace, failing: NodeExecution | None, now: dt.datetime) -> Why | None:
    """The box of an execution that has an error; None for others."""
    execution = place.execution
    node = failing.title if failing else execution.error_node_name
    said = reason(node, (execution.error_message or "")[:_SAID])
    if not said:
        return None
    fingerprint = None if execution.fingerprint is None else bytes(execution.fingerprint)
    return Why(
        said=said,
        is_bad=execution.state is Status.FAILED,
        error_class=_class_words(execution),
        severity=None if execution.severity is None else Severity(execution.severity).slug,
        same=history.same_error_since(fingerprint, now - LATELY) if fingerprint else None,
        same_url=place.list_of(fingerprint=(fingerprint or b"").hex(), range=_LATELY_PRESET),
        last_success=_last_success(place, failing),
    )


def _last_success(place: ExecutionPlace, failing: NodeExecution | None) -> LastSuccess | None:
    last = history.last_success_before(place.execution)
    if last is None:
        return None
    node_ms = None
    if failing is not None:
        then = NodeExecution.objects.filter(execution_id=last.id, node_id=failing.node_id)
        with prepared():
            node_ms = then.order_by("run_index").values_list("duration_ms", flat=True).first()
    return LastSuccess(last.started, place.beside(last.id), last.duration_ms, node_ms)


def _class_words(execution: Execution) -> str:
    """What kind of error it is, in words."""
    if execution.error_class is None:
        return ""
    error_class = ErrorClass(execution.error_class)
    return "unclassified error" if error_class is ErrorClass.UNKNOWN else error_class.label
