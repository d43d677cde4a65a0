"""The health of workflows, kept beside them; the scans of `scheduling` are the only writers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from monitoring.models import Workflow


@dataclass(frozen=True, slots=True)
class Health:
    """Scores of one workflow at one time: 0–100, the penalty 0–20; None where nothing is known."""

    workflow_id: int
    structure_score: float | None
    execution_penalty: float
    health_score: float | None
    at: dt.datetime


def store(results: Sequence[Health]) -> None:
    """Keep what a scan found as its workflows' health. Needs the tenant's scope."""
    rows = [
        Workflow(
            id=each.workflow_id,
            structure_score=each.structure_score,
            execution_penalty=each.execution_penalty,
            health_score=each.health_score,
            health_at=each.at,
        )
        for each in results
    ]
    fields = ["structure_score", "execution_penalty", "health_score", "health_at"]
    Workflow.objects.bulk_update(rows, fields)
