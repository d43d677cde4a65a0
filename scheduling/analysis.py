"""What the log of a workflow says: failing actions beside what the linter says of the same nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monitoring.metrics.failing_actions import FailingAction, failing_actions
from monitoring.metrics.timerange import TimeRange
from monitoring.models import Workflow
from scheduling.models import Finding, ScannedWorkflow


@dataclass(frozen=True, slots=True)
class Correlation:
    """A failing action and the findings of the latest scan at the same node."""

    action: FailingAction
    findings: Sequence[Finding]

    @property
    def percent(self) -> float | None:
        """The action's failure rate as a percentage."""
        rate = self.action.failure_rate
        return None if rate is None else rate * 100


def latest_look(workflow: Workflow) -> ScannedWorkflow | None:
    """How the workflow stood in the newest scan that looked at it."""
    return ScannedWorkflow.objects.filter(workflow=workflow).order_by("-scan_id").first()


def correlations(workflow: Workflow, range_: TimeRange) -> list[Correlation]:
    """The repeatedly failing actions of a range, each with the findings at its node."""
    actions = failing_actions(workflow, range_)
    look = latest_look(workflow) if actions else None
    if look is None:
        return [Correlation(action, []) for action in actions]
    findings = list(Finding.objects.filter(scan_id=look.scan_id, workflow=workflow))
    return [
        Correlation(action, [each for each in findings if _is_at(each, action)])
        for action in actions
    ]


def _is_at(finding: Finding, action: FailingAction) -> bool:
    """Senders name nodes by id or by name, definitions have both."""
    return bool({finding.node_id, finding.node_name} & ({action.node_id, action.name} - {""}))
