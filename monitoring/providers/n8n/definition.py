"""n8n's workflow JSON (the export, the API's answer, the editor's clipboard) as a graph.

What runs is `activeVersion` where n8n 2.x tells one, else the workflow's own nodes. n8n stores nearly
anything, so everything odd but readable becomes a graph that the linter can complain about.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from monitoring.graph import (
    MAIN,
    Edge,
    Graph,
    InvalidDefinition,
    Node,
    OnError,
    Retry,
    Settings,
)
from monitoring.providers.n8n.node_types import has_effect, kind_of, sends, trigger_of

PROVIDER: Final = "n8n"
_ON_ERROR: Final = {
    "continueRegularOutput": OnError.CONTINUE,
    "continueErrorOutput": OnError.ERROR_OUTPUT,
}
_DEFAULT_TRIES: Final = 3
_DEFAULT_WAIT_MS: Final = 1_000
_MOST_TRIES: Final = 1_000
_LONGEST_WAIT_MS: Final = 24 * 60 * 60 * 1_000
_MOST_PORTS: Final = 1_000


def graph_of(document: Mapping[str, Any]) -> Graph:
    """The graph of a workflow. Raises InvalidDefinition when it has no readable nodes or connections."""
    what_runs = running_part(document)
    nodes = what_runs.get("nodes")
    connections = what_runs.get("connections", {})
    problems: list[tuple[str, str]] = []
    if not isinstance(nodes, list):
        problems.append(("nodes", "must be the list of the workflow's nodes"))
    else:
        problems += [
            (f"nodes.{number}", "must be an object")
            for number, node in enumerate(nodes)
            if not isinstance(node, dict)
        ]
    if connections is None:
        connections = {}
    if not isinstance(connections, dict):
        problems.append(("connections", "must be an object, keyed by the names of nodes"))
    if problems or not isinstance(nodes, list):
        raise InvalidDefinition(problems)
    edges = tuple(_edges(connections))
    helpers = {e.source for e in edges if e.kind != MAIN} - {
        key for edge in edges if edge.kind == MAIN for key in (edge.source, edge.target)
    }
    pinned = document.get("pinData")
    return Graph(
        nodes=tuple(_node(node, number, helpers) for number, node in enumerate(nodes)),
        edges=edges,
        name=_text(document.get("name")),
        provider=PROVIDER,
        active=is_active(document),
        settings=_settings(document.get("settings")),
        tags=tuple(_tags(document.get("tags"))),
        pinned=pinned if isinstance(pinned, dict) else {},
    )


def running_part(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a workflow that runs: its active version, else the draft."""
    active = document.get("activeVersion")
    if isinstance(active, dict) and isinstance(active.get("nodes"), list):
        return active
    return document


def is_active(document: Mapping[str, Any]) -> bool | None:
    """Whether n8n runs it; None where the document does not say."""
    if document.get("isArchived") is True:
        return False
    active = document.get("active")
    return active if isinstance(active, bool) else None


def _node(node: Mapping[str, Any], number: int, helpers: set[str]) -> Node:
    node_type = _text(node.get("type"))
    name = _text(node.get("name")) or _text(node.get("id")) or f"Node {number + 1}"
    parameters = node.get("parameters")
    if not isinstance(parameters, dict):
        parameters = {}
    kind = kind_of(node_type, is_helper=name in helpers)
    is_sending = sends(node_type, kind)
    credentials = node.get("credentials")
    return Node(
        key=name,
        id=_text(node.get("id")) or name,
        name=name,
        kind=kind,
        type=node_type,
        type_version=_number(node.get("typeVersion"), 1.0),
        trigger=trigger_of(node_type),
        parameters=parameters,
        credentials=tuple(credentials) if isinstance(credentials, dict) else (),
        disabled=node.get("disabled") is True,
        on_error=_on_error(node),
        retry=_retry(node),
        execute_once=node.get("executeOnce") is True,
        always_output=node.get("alwaysOutputData") is True,
        position=_position(node.get("position")),
        notes=_text(node.get("notes")),
        sends=is_sending,
        effect=has_effect(node_type, parameters, is_sending=is_sending),
    )


def _on_error(node: Mapping[str, Any]) -> OnError:
    said = node.get("onError")
    if isinstance(said, str) and said in _ON_ERROR:
        return _ON_ERROR[said]
    return OnError.CONTINUE if node.get("continueOnFail") is True else OnError.STOP


def _retry(node: Mapping[str, Any]) -> Retry:
    if node.get("retryOnFail") is not True:
        return Retry()
    return Retry(
        tries=_bounded(node.get("maxTries"), _DEFAULT_TRIES, _MOST_TRIES),
        wait_ms=_bounded(node.get("waitBetweenTries"), _DEFAULT_WAIT_MS, _LONGEST_WAIT_MS),
    )


def _edges(connections: Mapping[str, Any]) -> Iterator[Edge]:
    for source, kinds in connections.items():
        if not isinstance(kinds, dict):
            continue
        for kind, outputs in kinds.items():
            if not isinstance(outputs, list):
                continue
            for number, ends in enumerate(outputs):
                for end in ends if isinstance(ends, list) else ():
                    if (target := _target(end)) is not None:
                        yield Edge(source, target[0], kind, number, target[1])


def _target(end: Any) -> tuple[str, int] | None:
    """(key, input) of one end of a connection; a bare name stands in hand-written files."""
    if isinstance(end, str):
        return end, 0
    if not isinstance(end, dict) or not isinstance(end.get("node"), str):
        return None
    return end["node"], _bounded(end.get("index"), 0, _MOST_PORTS)


def _settings(settings: Any) -> Settings:
    if not isinstance(settings, dict):
        return Settings()
    limit = _number(settings.get("executionTimeout"), -1)
    return Settings(
        error_workflow=_text(settings.get("errorWorkflow")) or None,
        time_limit=limit if limit > 0 else None,
        time_zone=_text(settings.get("timezone")) or None,
        callers=_text(settings.get("callerPolicy")) or None,
        saves_success=_text(settings.get("saveDataSuccessExecution")) or None,
        saves_failure=_text(settings.get("saveDataErrorExecution")) or None,
    )


def _tags(tags: Any) -> Iterator[str]:
    for tag in tags if isinstance(tags, list) else ():
        name = tag.get("name") if isinstance(tag, dict) else tag
        if isinstance(name, str):
            yield name


def _text(value: Any) -> str:
    """Text as it is, a whole number as text (old exports have number ids), else nothing."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _number(value: Any, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return float(value) if math.isfinite(value) and abs(value) < 2**53 else default


def _bounded(value: Any, default: int, most: int) -> int:
    """A whole number from 0 to `most`: n8n bounds what it runs so, whatever a file says."""
    return min(max(int(_number(value, default)), 0), most)


def _position(position: Any) -> tuple[float, float] | None:
    if not isinstance(position, list) or len(position) != 2:
        return None
    return _number(position[0], 0.0), _number(position[1], 0.0)
