"""No rule takes more than linear time, whatever somebody sends: a scan's worker would hang in it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from monitoring.graph import Edge, Graph, Node, NodeKind, OnError, TriggerKind
from scheduling.lint import engine
from scheduling.lint.base import Facts, NodeFailures, Subject

MANY = 5_000
"""As many nodes as a definition may have."""
EDGES = 60_000
"""About as many connections as fit into one."""
MOST_CPU = 6.0
"""Seconds for one rule; linear ones take a tenth of it, on a busy machine a quarter, the former
quadratic ones a minute."""


class Counted(dict[str, Any]):
    """Parameters that count how often they are made a text."""

    times = 0

    def __repr__(self) -> str:
        Counted.times += 1
        return "{}"


def trigger(key: str, kind: TriggerKind = TriggerKind.WEBHOOK) -> Node:
    return Node(key, key, key, NodeKind.TRIGGER, "n8n-nodes-base.webhook", trigger=kind)


def step(key: str, kind: NodeKind = NodeKind.ACTION, **fields: Any) -> Node:
    return Node(key, key, key, kind, f"n8n-nodes-base.{kind.value}", **fields)


def chain(nodes: list[Node]) -> list[Edge]:
    return [Edge(a.key, b.key) for a, b in itertools.pairwise(nodes)]


def graph(nodes: list[Node], edges: list[Edge], **fields: Any) -> Graph:
    return Graph(tuple(nodes), tuple(edges), provider="n8n", active=True, **fields)


def tangled(nodes: list[Node]) -> list[Edge]:
    """A ring with edges from each node to its next dozen."""
    count = len(nodes)
    width = EDGES // count
    return [
        Edge(node.key, nodes[(place + far) % count].key, output=far % 2)
        for place, node in enumerate(nodes)
        for far in range(1, width + 1)
    ]


def swallowing_chain() -> Graph:
    nodes = [trigger("t"), *(step(str(n), on_error=OnError.CONTINUE) for n in range(MANY - 2))]
    nodes.append(step("last", parameters={"q": ["x"] * 1_000_000}))
    return graph(nodes, chain(nodes))


def webhooks_and_hub() -> Graph:
    half = MANY // 2
    hooks = [trigger(f"t{n}") for n in range(half)]
    codes = [step(f"c{n}", NodeKind.CODE, parameters={"q": "x" * 500}) for n in range(half - 1)]
    hub = step("hub")
    edges = [Edge(hook.key, "hub") for hook in hooks] + [Edge("hub", code.key) for code in codes]
    return graph([*hooks, hub, *codes], edges)


def lost_starts() -> Graph:
    half = MANY // 2
    starts = [step(f"s{n}") for n in range(half)]
    behind = [step(f"b{n}") for n in range(half - 1)]
    edges = [Edge(start.key, "b0") for start in starts] + tangled(behind)
    return graph([trigger("t"), *starts, *behind], edges)


def ring_of_choices() -> Graph:
    nodes = [step(f"n{n}", NodeKind.BRANCH) for n in range(MANY - 1)]
    nodes = [Node(n.key, n.id, n.name, n.kind, "n8n-nodes-base.if") for n in nodes]
    return graph([trigger("t"), *nodes], [Edge("t", "n0"), *tangled(nodes)])


def chain_of_disabled() -> Graph:
    nodes = [step(f"n{n}", disabled=True) for n in range(MANY - 1)]
    return graph([trigger("t"), *nodes], [Edge("t", "n0"), *tangled(nodes)])


def copies() -> Graph:
    """Nodes of one name, joined to themselves as often as fits, with large pinned data."""
    nodes = [
        step("same", NodeKind.REQUEST, on_error=OnError.CONTINUE, sends=True, effect=True)
        for _ in range(MANY - 1)
    ]
    edges = [Edge("t", "same"), *(Edge("same", "same", output=n) for n in range(EDGES))]
    return graph([trigger("t"), *nodes], edges, pinned={"same": ["[scrubbed:jwt:ab]"] * 100_000})


def missing_ends() -> Graph:
    nodes = [trigger("t"), *(step(f"n{n}") for n in range(MANY - 1))]
    lost = [Edge(f"n{n % MANY}", f"gone{n}") for n in range(EDGES)]
    return graph(nodes, [*lost, *(Edge(f"left{n % 50}", f"n{n % 99}") for n in range(EDGES))])


def helpers() -> Graph:
    nodes = [trigger("t"), *(step(f"n{n}", NodeKind.HELPER) for n in range(MANY - 1))]
    edges = [Edge(each.source, each.target, "ai_tool") for each in tangled(nodes)]
    return graph(nodes, edges)


def deep_parameters() -> Graph:
    value: Any = ["={{ $('gone') }}"] * 250_000
    for _ in range(55):
        value = {"a": value}
    nodes = [trigger("t"), step("n", NodeKind.CODE, parameters={"x": value})]
    return graph(nodes, chain(nodes))


SHAPES: list[Callable[[], Graph]] = [
    swallowing_chain, webhooks_and_hub, lost_starts, ring_of_choices, chain_of_disabled, copies,
    missing_ends, helpers, deep_parameters,
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_every_rule_takes_linear_time(shape: Callable[[], Graph]) -> None:
    failures = {f"n{n}": NodeFailures(5, 5) for n in range(MANY)}
    subject = Subject(shape(), Facts(failures_by_node=failures))
    _ = subject.unattended, subject.strings  # what rules share is counted for none
    took = {}
    for rule in engine.rules():
        began = time.process_time()
        for _ in rule.check(subject):
            if time.process_time() - began > MOST_CPU:
                break
        took[rule.id] = time.process_time() - began
    assert {rule: round(cpu, 2) for rule, cpu in took.items() if cpu > MOST_CPU} == {}


def test_parameters_are_made_a_text_a_few_times_only() -> None:
    nodes = [trigger("t")]
    for n in range(300):
        nodes.append(step(f"c{n}", on_error=OnError.CONTINUE, parameters=Counted()))
        nodes.append(step(f"i{n}", NodeKind.CODE, parameters=Counted(q=Counted())))
    Counted.times = 0
    engine.check(graph(nodes, chain(nodes)), Facts())
    assert Counted.times <= 4 * len(nodes)
