"""What the workflow's executions say about it."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.words import RATED, Severity, Status
from scheduling.lint.base import Rule, Subject, Violation, register


@register
class AlwaysFailing(Rule):
    """The workflow fails every time.

    All of its last 20 executions failed. Under 5 executions say nothing yet.
    """

    id, severity = "always-failing", Severity.CRITICAL
    options = {"executions": 20, "least": 5}
    fixes = {
        "n8n": "Open the newest failed execution to see the failing node; deactivate the workflow when"
        " nobody needs it any more.",
        "": "Open the newest failed execution to see why; switch it off when nobody needs it.",
    }

    def check(self, subject: Subject) -> Iterator[Violation]:
        """Look at the newest finished executions."""
        rated = [status for status in subject.facts.recent if status in RATED]
        newest = rated[: self.options["executions"]]
        if len(newest) >= self.options["least"] and all(each is Status.FAILED for each in newest):
            evidence = f"{len(newest)} of the last {len(newest)} executions failed."
            message = f"All of the last {len(newest)} executions failed."
            yield self.violation(subject, message, evidence=evidence)
