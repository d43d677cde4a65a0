"""What a rule is: it looks at a workflow and says whether something is wrong with it."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from alerts.models import Incident
from alerts.policy import Policy
from monitoring.models import Workflow
from monitoring.words import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a rule found.

    `is_problem` opens an incident where none is open, and again one that was resolved when `count`
    has grown since. `why_over` ("" when it is not) resolves one that is open. `look_again_at` is
    when time alone can change the verdict. `first_at` is when what is counted began, where the rule knows.
    """

    is_problem: bool
    severity: Severity
    count: int
    counted_from: dt.datetime
    last_at: dt.datetime
    first_at: dt.datetime | None = None
    title: str
    detail: str = ""
    why_over: str = ""
    look_again_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A workflow to look at. `before` is the incident that is open, or was resolved within the window."""

    workflow: Workflow
    before: Incident | None
    policy: Policy


class WorkflowRule(ABC):
    """Looks at workflows of one tenant. Its docstring is what people read about it."""

    slug: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def over_when(self, policy: Policy) -> str:
        """What ends an incident of this rule by itself, for people."""

    def subject(self, workflow: Workflow) -> str:
        """What the incidents of this rule are about."""
        return f"workflow:{workflow.pk}"

    @abstractmethod
    def look(self, cases: Sequence[Case], now: dt.datetime) -> list[Verdict]:
        """Say how each workflow stands now, in as few statements as for one."""


_rules: dict[str, WorkflowRule] = {}
_Rule = TypeVar("_Rule", bound=type[WorkflowRule])


def register(rule: _Rule) -> _Rule:
    """Class decorator: every check of a workflow asks this rule too."""
    if rule.slug in _rules:
        raise ValueError(f"There is a rule {rule.slug!r} already.")
    _rules[rule.slug] = rule()
    return rule


def rule_named(slug: str) -> WorkflowRule | None:
    """The registered rule of that slug; None when scans open such incidents."""
    return next((rule for rule in workflow_rules() if rule.slug == slug), None)


def workflow_rules() -> list[WorkflowRule]:
    """All registered rules."""
    from alerts.rules import failures  # noqa: F401 - importing registers

    return list(_rules.values())
