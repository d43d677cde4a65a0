"""Mistakes planted into real workflows are found, and nothing else changes by them."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from monitoring.definitions import read_definition
from scheduling.lint.base import Facts, Violation
from scheduling.lint.engine import check
from tests.monitoring.definition_files import workflows

Document = dict[str, Any]
_READS = re.compile(r"\$\('([^'\\]+)'\)")


def found(document: Document) -> set[Violation]:
    return set(check(read_definition(document).graph, Facts()))


def new_rules(before: Document, after: Document) -> set[tuple[str, str]]:
    """(rule, node) of what is found in `after` only."""
    known = {each.fingerprint for each in found(before)}
    return {(v.rule, v.node_name) for v in found(after) if v.fingerprint not in known}


def reached(document: Document) -> Iterator[Document]:
    """The nodes that run, as JSON."""
    graph = read_definition(document).graph
    for each in document["nodes"]:
        node = graph.by_key.get(each.get("name", ""))
        if node is not None and node.is_live and node.key in graph.reached:
            yield each


def renamed_behind_an_expression(
    document: Document,
) -> tuple[Document, set[tuple[str, str]]] | None:
    """Rename a node that an expression of another one reads, without the expression."""
    names = {each["name"] for each in document["nodes"]}
    for reader in reached(document):
        for value in reader["parameters"].values():
            name = (
                _READS.search(value) if isinstance(value, str) and value.startswith("=") else None
            )
            if name is None or name.group(1) not in names or name.group(1) == reader["name"]:
                continue
            old = name.group(1)
            connections = json.dumps(document["connections"]).replace(json.dumps(old), '"New name"')
            changed = copy.deepcopy(document) | {"connections": json.loads(connections)}
            for each in changed["nodes"]:
                each["name"] = "New name" if each["name"] == old else each["name"]
            return changed, {("reference-to-missing-node", reader["name"])}
    return None


def disabled_in_the_middle(document: Document) -> tuple[Document, set[tuple[str, str]]] | None:
    graph = read_definition(document).graph
    for each in reached(document):
        node = graph.by_key[each["name"]]
        behind = [graph.by_key[edge.target] for edge in graph.outputs(node)]
        inner = (
            not node.trigger and not node.type.endswith("noOp") and any(n.is_live for n in behind)
        )
        if inner and graph.inputs(node):
            changed = copy.deepcopy(document)
            for one in changed["nodes"]:
                one["disabled"] = True if one["name"] == node.name else one.get("disabled", False)
            return changed, {("disabled-in-path", node.name)}
    return None


def with_a_key_in_a_header(document: Document) -> tuple[Document, set[tuple[str, str]]] | None:
    for each in reached(document):
        if each["type"].endswith(".httpRequest"):
            changed = copy.deepcopy(document)
            header = {"parameters": [{"name": "X-Api-Key", "value": "k3Jx9Qm2Vw7Rt5Zb"}]}
            for one in changed["nodes"]:
                if one["name"] == each["name"]:
                    one["parameters"] |= {"sendHeaders": True, "headerParameters": header}
            return changed, {("secret-in-plain-text", each["name"])}
    return None


def cut_off(document: Document) -> tuple[Document, set[tuple[str, str]]] | None:
    """Add a node that nothing leads to."""
    if not read_definition(document).graph.triggers:
        return None
    extra = {"id": "x", "name": "Left over", "type": "n8n-nodes-base.set", "parameters": {}}
    return document | {"nodes": [*document["nodes"], extra]}, {("unreachable-node", "Left over")}


PLANTS: tuple[
    tuple[Callable[[Document], tuple[Document, set[tuple[str, str]]] | None], int], ...
] = (
    (renamed_behind_an_expression, 15),
    (disabled_in_the_middle, 30),
    (with_a_key_in_a_header, 15),
    (cut_off, 50),
)


@pytest.mark.parametrize(("plant", "least"), PLANTS, ids=lambda each: getattr(each, "__name__", ""))
def test_planted_mistakes_are_found(plant: Any, least: int) -> None:
    planted = 0
    for name, document in workflows():
        made = plant(document)
        if made is None:
            continue
        changed, expected = made
        planted += 1
        rules = {rule for rule, _ in expected}
        new = {each for each in new_rules(document, changed) if each[0] in rules}
        assert expected <= new, name
    assert planted >= least
