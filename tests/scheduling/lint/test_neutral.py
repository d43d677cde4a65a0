"""Rules hold for the neutral form as for n8n's, in words of their own."""

from __future__ import annotations

from typing import Any

from monitoring.definitions import read_definition
from scheduling.lint.base import Facts, Violation
from scheduling.lint.engine import check


def found(
    *nodes: dict[str, Any], edges: list[tuple[str, str]], **more: Any
) -> dict[str, Violation]:
    document = {
        "nodes": list(nodes),
        "edges": [{"source": source, "target": target} for source, target in edges],
        "active": True,
    }
    graph = read_definition(document | more).graph
    return {violation.rule: violation for violation in check(graph, Facts())}


START = {"id": "start", "trigger": "schedule"}


def test_a_careless_request_violates_what_it_does_in_n8n() -> None:
    call = {
        "id": "call",
        "kind": "request",
        "parameters": {"url": "https://x.example", "method": "POST"},
    }
    violations = found(START, call, edges=[("start", "call")])
    assert set(violations) == {"no-error-workflow", "no-retry-on-network", "no-timeout"}
    assert all("→" not in each.fix for each in violations.values()), "no menus of n8n"


def test_a_careful_one_violates_nothing() -> None:
    call = {
        "id": "call",
        "kind": "request",
        "parameters": {"url": "https://x.example", "method": "POST", "timeout": 5000},
        "retries": 2,
    }
    settings = {"error_workflow": "tell-me"}
    assert found(START, call, edges=[("start", "call")], settings=settings) == {}


def test_structure_is_judged_alike() -> None:
    nodes = [{"id": name} for name in ("a", "b", "lost")]
    violations = found(START, *nodes, edges=[("start", "a"), ("a", "b"), ("b", "a"), ("b", "gone")])
    assert set(violations) == {"endless-cycle", "unreachable-node", "edge-to-missing-node"}
    assert set(found(*nodes, edges=[])) == {"no-trigger"}


def test_an_open_webhook_and_a_secret_are_found() -> None:
    hook = {"id": "hook", "trigger": "webhook", "parameters": {"path": "orders"}}
    keep = {"id": "keep", "parameters": {"apiKey": "k3Jx9Qm2Vw7Rt5Zb"}}
    violations = found(hook, keep, edges=[("hook", "keep")])
    assert set(violations) == {"webhook-no-auth", "secret-in-plain-text"}
