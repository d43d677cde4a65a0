"""Executions by their ids, ours or a sender's."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final

from monitoring.history.reading import attach_names, light
from monitoring.models import Execution, ExecutionKey
from monitoring.prepared import prepared

MOST_CANDIDATES: Final = 20


def get(execution_id: uuid.UUID) -> Execution | None:
    """The execution of that id with its workflow, environment and payload."""
    found = Execution.objects.select_related("workflow", "environment").filter(id=execution_id)
    with prepared():
        return found.first()


def of_ids(ids: Sequence[uuid.UUID]) -> list[Execution]:
    """The executions of these ids that exist, newest first, without payload."""
    if not ids:
        return []
    found = list(light(Execution.objects.filter(id__in=ids)).order_by("-id"))
    attach_names(found)
    return found


def find_by_any_id(
    text: str, *, workflow_ids: Sequence[int] = (), environment_id: int | None = None
) -> list[Execution]:
    """The executions that `text` may mean: ours is tried first, then the sender's id.

    Several mean that workflow or environment must decide; at most 20 are returned, newest first,
    without payload.
    """
    if "\0" in text:  # which PostgreSQL can't hold, so nothing can have it
        return []
    try:
        ours = list(light(Execution.objects.filter(id=uuid.UUID(text))))
    except ValueError:
        ours = []
    found = [
        row
        for row in ours
        if (not workflow_ids or row.workflow_id in workflow_ids)
        and environment_id in (None, row.environment_id)
    ]
    if not found:
        ids = ids_of_sender(text, workflow_ids, environment_id)
        found = list(light(Execution.objects.filter(id__in=ids)).order_by("-id"))
    attach_names(found)
    return found


def ids_of_sender(
    text: str, workflow_ids: Sequence[int], environment_id: int | None
) -> list[uuid.UUID]:
    keys = ExecutionKey.objects.filter(external_id=text)
    if workflow_ids:
        keys = keys.filter(workflow_id__in=list(workflow_ids))
    if environment_id is not None:
        keys = keys.filter(environment_id=environment_id)
    return list(keys.values_list("execution_id", flat=True)[:MOST_CANDIDATES])
