"""docs/lint.md holds the table that the rules' own words make."""

from __future__ import annotations

import re
from pathlib import Path

from scheduling.lint.catalogue import table
from scheduling.lint.engine import WEIGHTS, rules

GUIDE = (Path(__file__).parents[3] / "docs" / "lint.md").read_text()


def test_the_table_is_that_of_the_rules() -> None:
    held = re.search(r"<!-- rules -->\n(.*?)\n<!-- end of rules -->", GUIDE, re.DOTALL)
    assert held is not None
    assert held.group(1) == table(), f"write this into docs/lint.md:\n{table()}"


def test_the_weights_are_told() -> None:
    for severity, weight in WEIGHTS.items():
        assert f"{severity.slug} {weight}" in GUIDE


def test_the_sample_speaks_of_rules_that_exist() -> None:
    sample = GUIDE.partition("## The judged sample")[2]
    known = {rule.id for rule in rules()}
    assert set(re.findall(r"^\| `([a-z-]+)` \|", sample, re.MULTILINE)) <= known
