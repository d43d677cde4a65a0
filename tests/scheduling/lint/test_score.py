"""The structure score: weights 25, 8 and 2; of one rule whole, half, a quarter, nothing; floor 0."""

from __future__ import annotations

import pytest

from monitoring.words import Severity
from scheduling.lint.base import Violation
from scheduling.lint.engine import structure_score

C, W, I = Severity.CRITICAL, Severity.WARNING, Severity.INFO  # noqa: E741 - as short as the table


@pytest.mark.parametrize(
    ("found", "score"),
    [
        ([], 100),
        ([("a", C)], 75),
        ([("a", W)], 92),
        ([("a", I)], 98),
        ([("a", C), ("a", C)], 62.5),
        ([("a", C), ("a", C), ("a", C)], 56.25),
        ([("a", C)] * 50, 56.25),
        ([("a", C), ("b", W), ("c", I)], 65),
        ([("a", I), ("a", C)], 74),
        ([("a", W), ("a", C), ("a", I)], 70.5),
        ([(rule, C) for rule in "abcde"], 0),
    ],
)
def test_score(found: list[tuple[str, Severity]], score: float) -> None:
    violations = [
        Violation(rule, severity, "m", "f", f"{number}")
        for number, (rule, severity) in enumerate(found)
    ]
    assert structure_score(violations) == score
    assert structure_score(reversed(violations)) == score
