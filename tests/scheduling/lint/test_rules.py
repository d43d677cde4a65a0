"""Every registered rule meets the same demands; its workflows are in `cases`."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings

from monitoring.definitions import InvalidDefinition, read_definition
from scheduling.lint import engine
from scheduling.lint.base import Facts, Violation
from tests.monitoring.definition_files import workflows
from tests.monitoring.test_graph import DOCUMENTS
from tests.scheduling.lint.cases import CASES, HOOK, Document, behind, node, workflow

RULES = {rule.id: rule for rule in engine.rules()}
rule_ids = pytest.mark.parametrize("rule_id", sorted(RULES))
# What a disabled node may still violate: rules about the workflow, and the one about disabled nodes.
NOT_OF_A_NODE = {"no-trigger", "no-error-workflow", "always-failing", "disabled-in-path"}


def found(document: Document, facts: Facts, rule_id: str) -> list[Violation]:
    graph = read_definition(document).graph
    return [each for each in engine.check(graph, facts) if each.rule == rule_id]


def test_every_rule_has_its_cases() -> None:
    assert set(CASES) == set(RULES)
    assert len(RULES) == 16


@rule_ids
def test_it_finds_what_violates_it(rule_id: str) -> None:
    case, rule = CASES[rule_id], RULES[rule_id]
    violations = found(case.violating, case.facts, rule_id)
    assert [each.severity for each in violations] == [rule.severity]
    assert violations[0].message.endswith(".")
    assert violations[0].fix


def test_a_connection_by_a_nodes_id_says_whose_id_it_is() -> None:
    document = workflow(
        HOOK, node("Slack"), edges=[("Hook", "Slack"), ("Slack", "id-Hook"), ("id-Slack", "Hook")]
    )
    messages = [each.message for each in found(document, Facts(), "edge-to-missing-node")]
    assert messages == [
        "“Slack” leads to “id-Hook”, which is the id of “Hook”: connections go by names.",
        "A connection comes from “id-Slack”, which is the id of “Slack”, to “Hook”.",
    ]


@rule_ids
def test_it_stays_silent_next_door(rule_id: str) -> None:
    case = CASES[rule_id]
    assert case.silent or case.silent_facts
    for document, facts in [*((each, Facts()) for each in case.silent), *case.silent_facts]:
        assert found(document, facts, rule_id) == [], json.dumps(document)


@rule_ids
def test_it_is_milder_or_as_bad_where_it_says(rule_id: str) -> None:
    case = CASES[rule_id]
    mild = [*((document, Facts(), severity) for document, severity in case.mild), *case.mild_facts]
    for document, facts, severity in mild:
        severities = [each.severity for each in found(document, facts, rule_id)]
        assert severities == [severity], json.dumps(document)


@rule_ids
def test_it_explains_itself_and_the_way_out(rule_id: str) -> None:
    rule = RULES[rule_id]
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", rule_id)
    assert rule.title.endswith(".")
    assert "\n\n" not in rule.title
    assert len(rule.explanation) > 40
    assert set(rule.fixes) == {"n8n", ""}
    assert re.search(r"→|Open |select |Select |press ", rule.fixes["n8n"]), "n8n's own words"


@rule_ids
def test_its_fingerprint_survives_renamed_neighbours_moving_and_new_nodes(rule_id: str) -> None:
    case = CASES[rule_id]
    [before] = found(case.violating, case.facts, rule_id)
    changed = _moved(_others_renamed(case.violating, before.node_name))
    changed["nodes"].append(node("Entirely new", "stickyNote"))
    [after] = found(changed, case.facts, rule_id)
    assert after.fingerprint == before.fingerprint


@rule_ids
def test_a_disabled_node_is_left_alone(rule_id: str) -> None:
    if rule_id in NOT_OF_A_NODE:
        return
    case = CASES[rule_id]
    [violation] = found(case.violating, case.facts, rule_id)
    off = copy.deepcopy(case.violating)
    for each in off["nodes"]:
        if each["name"] == violation.node_name:
            each["disabled"] = True
    expected = {"endless-cycle", "edge-to-missing-node"}  # they go on through a disabled node
    assert bool(found(off, case.facts, rule_id)) == (rule_id in expected)


@rule_ids
def test_it_finds_the_same_again(rule_id: str) -> None:
    case = CASES[rule_id]
    assert found(case.violating, case.facts, rule_id) == found(case.violating, case.facts, rule_id)


def _others_renamed(document: Document, keep: str) -> Document:
    """The document with every node but `keep` called otherwise, as the editor renames."""
    text = json.dumps(document)
    for number, each in enumerate(document["nodes"]):
        if each["name"] != keep:
            old, new = json.dumps(each["name"]), json.dumps(f"Renamed {number}")
            text = text.replace(f": {old}", f": {new}").replace(f"{old}: {{", f"{new}: {{")
            text = text.replace(f"$('{each['name']}')", f"$('Renamed {number}')")
    renamed: Document = json.loads(text)
    return renamed


def _moved(document: Document) -> Document:
    return document | {"nodes": [each | {"position": [999, -7]} for each in document["nodes"]]}


# --- all rules together ---------------------------------------------------------------------------


@given(DOCUMENTS)
@settings(max_examples=300, deadline=None)
def test_any_definition_can_be_checked(document: Any) -> None:
    violations = _checked(document)
    prints = [each.fingerprint for each in violations]
    assert len(prints) == len(set(prints))
    assert 0 <= engine.structure_score(violations) <= 100


def _checked(document: Any) -> list[Violation]:
    try:
        graph = read_definition(document).graph
    except InvalidDefinition:
        return []
    return engine.check(graph, Facts())


@pytest.mark.parametrize(("name", "document"), workflows())
def test_real_workflows_are_checked(name: str, document: Document) -> None:
    violations = _checked(document)
    assert len({each.fingerprint for each in violations}) == len(violations)
    assert all(len(each.fingerprint) <= 64 for each in violations)


def test_copied_nodes_with_one_id_keep_findings_apart() -> None:
    one = node("A", "httpRequest", parameters={"url": "https://x.example"}) | {"id": "same"}
    found_twice = found(behind(one, one | {"name": "B"}), Facts(), "no-timeout")
    assert len({each.fingerprint for each in found_twice}) == 2


def test_nothing_unmasked_is_shown() -> None:
    document = CASES["secret-in-plain-text"].violating
    shown = str(_checked(document))
    assert document["nodes"][1]["parameters"]["apiKey"] not in shown
    assert "[scrubbed:secret:" in shown


def test_a_large_ring_takes_no_long_time() -> None:
    names = [f"n{number}" for number in range(4_000)]
    ring = behind(*[node(name) for name in names])
    ring["connections"][names[-1]] = {"main": [[{"node": names[0], "type": "main", "index": 0}]]}
    assert found(ring, Facts(), "endless-cycle")
