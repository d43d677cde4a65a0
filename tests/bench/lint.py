"""Workflows linted in a second of CPU: the recorded real ones."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import django

from tests.bench.site import Site


def measure(site: Site, token: str, seconds: float, repeats: int) -> list[str]:
    """Lines of the report; medians of the repeats."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    import msgspec

    from monitoring.definitions import read_definition
    from monitoring.providers.n8n.definition import graph_of
    from scheduling.lint.engine import Facts, check
    from tests.monitoring.definition_files import workflows

    documents = [document for _, document in workflows()]
    stored = [msgspec.json.encode(read_definition(document).document) for document in documents]
    graphs = [graph_of(msgspec.json.decode(body)) for body in stored]
    kinds: dict[str, Callable[[], None]] = {
        "the rules": lambda: _each(lambda graph: check(replace(graph), Facts()), graphs),
        "stored JSON, graph, rules": lambda: _each(
            lambda body: check(graph_of(msgspec.json.decode(body)), Facts()), stored
        ),
        "taking in: scrub, graph, hash": lambda: _each(read_definition, documents),
    }
    nodes = sum(len(graph.nodes) for graph in graphs)
    size = f"{len(graphs)} real workflows of {nodes / len(graphs):.0f} nodes on average"
    lines = [f"Lint, {size}, for each second of CPU:"]
    for name, work in kinds.items():
        rate = _rate(work, len(graphs), seconds / len(kinds), repeats)
        lines.append(f"  {name:<32} {rate:8.0f} workflows/s")
    return lines


def _each(work: Callable[[Any], object], things: Iterable[Any]) -> None:
    for thing in things:
        work(thing)


def _rate(work: Callable[[], None], count: int, seconds: float, repeats: int) -> float:
    """Workflows in a second of CPU: the median of `repeats` measurements of `seconds` together."""
    rates = []
    for _ in range(repeats):
        began, rounds = time.process_time(), 0
        while time.process_time() - began < seconds / repeats:
            work()
            rounds += 1
        rates.append(rounds * count / (time.process_time() - began))
    return sorted(rates)[repeats // 2]
