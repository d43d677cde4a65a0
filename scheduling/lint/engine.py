"""Runs the rules over one workflow, and weighs what they find."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from monitoring.graph import Graph
from monitoring.words import Severity
from scheduling.lint import rules as rules_package
from scheduling.lint.base import RULES, Facts, Rule, Subject, Violation

__all__ = ["Facts", "Violation", "check", "rules", "structure_score"]

WEIGHTS: Final = {Severity.CRITICAL: 25, Severity.WARNING: 8, Severity.INFO: 2}
# Of one rule in one workflow: the first finding counts whole, so that one habit buries nothing else.
_SHARES: Final = (1.0, 0.5, 0.25)

for _module in pkgutil.iter_modules(rules_package.__path__):
    importlib.import_module(f"{rules_package.__name__}.{_module.name}")


def rules() -> list[Rule]:
    """Every rule, by its id."""
    return [RULES[name] for name in sorted(RULES)]


def title_of_rule(name: str) -> str:
    """What a rule finds, in words without a full stop; the name of one that is gone."""
    rule = RULES.get(name)
    return rule.title.rstrip(".") if rule else name


def check(graph: Graph, facts: Facts) -> list[Violation]:
    """What is wrong with a workflow, the worst first; fingerprints are unique in it."""
    subject = Subject(graph, facts)
    found = [violation for rule in rules() for violation in rule.check(subject)]
    return sorted(_unique(found), key=lambda each: -WEIGHTS[each.severity])


def structure_score(violations: Iterable[Violation]) -> float:
    """100 less the weights of a workflow's findings, at least 0 (lint rules, "Score")."""
    weights: dict[str, list[int]] = {}
    for violation in violations:
        weights.setdefault(violation.rule, []).append(WEIGHTS[violation.severity])
    lost = sum(
        weight * share
        for of_rule in weights.values()
        for weight, share in zip(sorted(of_rule, reverse=True), _SHARES, strict=False)
    )
    return max(0.0, 100.0 - lost)


def _unique(found: Iterable[Violation]) -> Iterator[Violation]:
    """Number the fingerprints that are alike: copied nodes share their ids."""
    seen: Counter[str] = Counter()
    for violation in found:
        number = seen[violation.fingerprint]
        seen[violation.fingerprint] += 1
        if number:
            violation = replace(violation, fingerprint=f"{violation.fingerprint}-{number + 1}")
        yield violation
