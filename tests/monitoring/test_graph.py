"""Any JSON gives a graph or a clear error; n8n's and the neutral form give the same kind of graph."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.definitions import Definition, InvalidDefinition, read_definition
from monitoring.graph import Edge, Graph, NodeKind, OnError, Retry, TriggerKind
from tests.monitoring.definition_files import FILES, document, workflows

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
_json = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
_names = st.sampled_from(["A", "B", "C", "", "[scrubbed:x]"]) | _json
_node = st.fixed_dictionaries(
    {},
    optional={
        "id": _names,
        "name": _names,
        "type": st.sampled_from(["n8n-nodes-base.httpRequest", "x.webhook", "n8n-nodes-base.if"])
        | _json,
        "typeVersion": _json,
        "parameters": _json,
        "position": _json,
        "disabled": _json,
        "onError": _json,
        "retryOnFail": _json,
        "maxTries": _json,
        "credentials": _json,
        "kind": _names,
        "trigger": _names,
        "retries": _json,
    },
)
_target = (
    st.fixed_dictionaries({}, optional={"node": _names, "type": _names, "index": _json}) | _json
)
_connections = st.dictionaries(
    st.sampled_from(["A", "B", "C", "D"]),
    st.dictionaries(
        st.sampled_from(["main", "ai_tool"]),
        st.lists(st.lists(_target, max_size=3) | _json, max_size=3),
    )
    | _json,
    max_size=4,
)
_edges = st.lists(
    st.fixed_dictionaries({}, optional={"source": _names, "target": _names, "output": _json})
    | _json,
    max_size=5,
)
DOCUMENTS = (
    st.fixed_dictionaries(
        {},
        optional={
            "nodes": st.lists(_node | _json, max_size=5) | _json,
            "connections": _connections | _json,
            "edges": _edges | _json,
            "settings": _json,
            "active": _json,
            "activeVersion": _json,
            "pinData": _json,
            "tags": _json,
            "name": _json,
        },
    )
    | _json
)


@given(DOCUMENTS)
@settings(max_examples=400, deadline=None)
def test_any_json_gives_a_graph_or_a_clear_error(document: Any) -> None:
    found = _graph_or_reasons(document)
    if isinstance(found, Graph):
        assert found.reached <= set(found.by_key)
    else:
        assert all(msg for _, msg in found)
        assert found


def _graph_or_reasons(document: Any) -> Graph | list[tuple[str, str]]:
    try:
        return read_definition(document).graph
    except InvalidDefinition as error:
        return error.errors


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name[:3])
def test_real_files_are_read_or_refused_with_a_reason(path: Any) -> None:
    content = document(path)
    if isinstance(content, dict) and isinstance(content.get("nodes"), list):
        graph = read_definition(content).graph
        assert len(graph.nodes) == len(content["nodes"])
    else:
        with pytest.raises(InvalidDefinition):
            read_definition(content)


def test_most_real_files_are_workflows() -> None:
    assert len(workflows()) == 58


def _n8n(*nodes: dict[str, Any], **more: Any) -> Graph:
    return read_definition({"nodes": list(nodes), "connections": {}, **more}).graph


def test_n8n_names_become_kinds_and_settings() -> None:
    graph = _n8n(
        {"name": "Hook", "type": "n8n-nodes-base.webhook"},
        {
            "id": "7",
            "name": "Call",
            "type": "n8n-nodes-base.httpRequest",
            "typeVersion": 4.2,
            "parameters": {"method": "POST"},
            "retryOnFail": True,
            "onError": "continueErrorOutput",
        },
        {"name": "Old", "type": "n8n-nodes-base.set", "continueOnFail": True, "disabled": True},
        {"name": "Note", "type": "n8n-nodes-base.stickyNote"},
        settings={"errorWorkflow": 17, "executionTimeout": -1, "timezone": "Europe/Rome"},
        active=True,
    )
    hook, call, old, note = graph.nodes
    assert (hook.kind, hook.trigger, hook.id) == (NodeKind.TRIGGER, TriggerKind.WEBHOOK, "Hook")
    assert (call.kind, call.sends, call.effect) == (NodeKind.REQUEST, True, True)
    assert (call.retry, call.on_error) == (Retry(3, 1000), OnError.ERROR_OUTPUT)
    assert (old.on_error, old.is_live, old.sends) == (OnError.CONTINUE, False, False)
    assert note.kind is NodeKind.NOTE
    assert graph.settings.error_workflow == "17"
    assert graph.settings.time_limit is None
    assert graph.settings.time_zone == "Europe/Rome"
    assert graph.active is True


def test_what_runs_is_the_active_version() -> None:
    graph = _n8n(
        {"name": "Draft"}, activeVersion={"nodes": [{"name": "Published"}], "connections": {}}
    )
    assert [node.name for node in graph.nodes] == ["Published"]


def test_an_archived_workflow_is_not_active() -> None:
    assert _n8n(active=True, isArchived=True).active is False


def test_edges_keep_outputs_and_kinds() -> None:
    graph = _n8n(
        {"name": "If", "type": "n8n-nodes-base.if"},
        connections={
            "If": {"main": [None, [{"node": "B", "type": "main", "index": 1}, "C"]]},
            "Model": {"ai_languageModel": [[{"node": "Agent"}]]},
        },
    )
    assert graph.edges == (
        Edge("If", "B", output=1, input=1),
        Edge("If", "C", output=1),
        Edge("Model", "Agent", kind="ai_languageModel"),
    )


def test_reached_follows_data_and_then_helpers_backwards() -> None:
    def to(*names: str) -> list[list[dict[str, str]]]:
        return [[{"node": name} for name in names]]

    graph = _n8n(
        {"name": "Start", "type": "n8n-nodes-base.webhook"},
        {"name": "Off", "type": "n8n-nodes-base.set", "disabled": True},
        {"name": "Agent", "type": "@n8n/n8n-nodes-langchain.agent"},
        {"name": "Tool", "type": "@n8n/n8n-nodes-langchain.toolVectorStore"},
        {"name": "Model", "type": "@n8n/n8n-nodes-langchain.lmChatOpenAi"},
        {"name": "Lost", "type": "n8n-nodes-base.set"},
        connections={
            "Start": {"main": to("Off")},
            "Off": {"main": to("Agent")},
            "Tool": {"ai_tool": to("Agent")},
            "Model": {"ai_languageModel": to("Tool")},
        },
    )
    assert graph.reached == {"Start", "Off", "Agent", "Tool", "Model"}
    assert graph.by_key["Model"].kind is NodeKind.HELPER
    assert graph.before(["Agent"]) == {"Off", "Start"}


def test_the_neutral_form_gives_the_same_graph() -> None:
    graph = read_definition(
        {
            "name": "Import",
            "active": False,
            "nodes": [
                {"id": "a", "trigger": "schedule"},
                {"id": "b", "kind": "request", "parameters": {"method": "post"}, "retries": 2},
                {"id": "c", "type": "if", "onError": "continue"},
            ],
            "edges": [{"from": "a", "to": "b"}, {"source": "b", "target": "c", "output": 1}],
            "settings": {"timeLimitSeconds": 60, "error_workflow": "w"},
        }
    ).graph
    a, b, c = graph.nodes
    assert (a.kind, a.trigger) == (NodeKind.TRIGGER, TriggerKind.SCHEDULE)
    assert (b.kind, b.retry, b.effect) == (NodeKind.REQUEST, Retry(3), True)
    assert (c.kind, c.on_error) == (NodeKind.BRANCH, OnError.CONTINUE)
    assert graph.edges == (Edge("a", "b"), Edge("b", "c", output=1))
    assert (graph.settings.time_limit, graph.settings.error_workflow) == (60.0, "w")
    assert graph.reached == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ([], ""),
        ({}, "nodes"),
        ({"nodes": {}}, "nodes"),
        ({"nodes": ["x"]}, "nodes.0"),
        ({"nodes": [], "connections": []}, "connections"),
        ({"nodes": [{}], "edges": []}, "nodes.0.id"),
        ({"nodes": [{"id": "a"}], "edges": [{"source": "a"}]}, "edges.0.target"),
        ({"nodes": [{"name": "n" * 256}]}, "nodes.0"),
        ({"nodes": [{}] * 5_001}, "nodes"),
        ({"nodes": [], "name": "n" * 5_000, "connections": {}}, "name"),
        ({"nodes": [], "name": "n" * 5_000, "edges": []}, "name"),
        *(
            ({"nodes": [{"id": "a", "retries": tries}], "edges": []}, "nodes.0.retries")
            for tries in (1e99, -5, 1.5, "3", True, 1_001)
        ),
        ({"nodes": [{"id": "a", "retryWaitMs": 1e99}], "edges": []}, "nodes.0.retryWaitMs"),
        *(
            (
                {"nodes": [], "edges": [{"source": "a", "target": "b", side: port}]},
                f"edges.0.{side}",
            )
            for side in ("output", "input")
            for port in (-5, 1e99, "0")
        ),
    ],
)
def test_errors_name_the_place(document: Any, place: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        read_definition(document)
    assert caught.value.errors[0][0] == place


def test_numbers_of_n8n_are_bounded() -> None:
    node = {"name": "A", "retryOnFail": True, "maxTries": 1e99, "waitBetweenTries": -5}
    ends = [[{"node": "A", "index": -5}, {"node": "A", "index": 2**52}]]
    graph = read_definition({"nodes": [node], "connections": {"A": {"main": ends}}}).graph
    assert graph.nodes[0].retry == Retry(tries=3, wait_ms=0)
    assert [edge.input for edge in graph.edges] == [0, 1_000]


def test_depth_is_bounded() -> None:
    deep: Any = "x"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(InvalidDefinition, match="64 levels"):
        read_definition({"nodes": [{"name": "A", "parameters": {"deep": deep}}]})


def test_the_digest_ignores_order_and_what_is_no_definition() -> None:
    def digest(document: dict[str, Any]) -> Definition:
        return read_definition(document)

    one = digest({"nodes": [{"name": "A", "type": "t"}], "connections": {}, "updatedAt": "1"})
    two = digest({"connections": {}, "nodes": [{"type": "t", "name": "A"}], "active": True})
    three = digest({"connections": {}, "nodes": [{"type": "t", "name": "B"}]})
    assert one.digest == two.digest != three.digest
