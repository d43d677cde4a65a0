"""Workflows linted in a second of CPU: the recorded real ones."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import django

from tests.bench.bench import Bench
from tests.figures import Figure

_RULES = "lint: the sixteen rules"


def measure(bench: Bench) -> Iterator[Figure]:
    """Workflows for each second of CPU; medians of the repeats."""
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
        _RULES: lambda: _each(lambda graph: check(replace(graph), Facts()), graphs),
        "lint as a scan does: stored JSON, graph, rules": lambda: _each(
            lambda body: check(graph_of(msgspec.json.decode(body)), Facts()), stored
        ),
        "taking a definition in: scrub, graph, hash": lambda: _each(read_definition, documents),
    }
    nodes = sum(len(graph.nodes) for graph in graphs)
    for name, work in kinds.items():
        rate = _rate(work, len(graphs), bench.seconds / len(kinds), bench.repeats)
        yield Figure(
            section="later", line=name, target="500 workflows/s" if name is _RULES else "",
            met=rate > 500 if name is _RULES else None,
            reached=f"{rate:,.0f} workflows for each second of CPU",
            sizes=f"{len(graphs)} real workflows of {nodes / len(graphs):.0f} nodes on average",
        )  # fmt: skip


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
