"""Workflows linted in a second: the recorded real ones, read and checked by one process."""

from __future__ import annotations

import os
import time
from typing import Any

import django

from tests.bench.site import Site


def measure(site: Site, token: str, seconds: float, repeats: int) -> list[str]:
    """Lines of the report; medians of the repeats."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from monitoring.definitions import read_definition
    from scheduling.lint.engine import Facts, check
    from tests.monitoring.definition_files import workflows

    documents = [document for _, document in workflows()]
    graphs = [read_definition(document).graph for document in documents]
    nodes = sum(len(graph.nodes) for graph in graphs)

    def lint() -> None:
        for document in documents:
            check(read_definition(document).graph, Facts())

    def check_only() -> None:
        # Read again, so that nothing is indexed already.
        for graph in graphs:
            check(type(graph)(graph.nodes, graph.edges, graph.name, graph.provider), Facts())

    rates = {"read and checked": _rate(lint, len(documents), seconds, repeats)}
    rates["checked"] = _rate(check_only, len(documents), seconds, repeats)
    return [
        f"Lint, {len(documents)} real workflows of {nodes / len(documents):.0f} nodes on average:",
        *(f"  {name:<28} {rate:8.0f} workflows/s" for name, rate in rates.items()),
    ]


def _rate(work: Any, count: int, seconds: float, repeats: int) -> float:
    """Workflows in a second: the median of `repeats` measurements of `seconds` together."""
    rates = []
    for _ in range(repeats):
        began, rounds = time.perf_counter(), 0
        while time.perf_counter() - began < seconds / repeats:
            work()
            rounds += 1
        rates.append(rounds * count / (time.perf_counter() - began))
    return sorted(rates)[repeats // 2]
