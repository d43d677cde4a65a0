"""Flowwatch's own form of a definition, `{nodes, edges}`, for systems that have none it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from monitoring.graph import (
    MAIN,
    Edge,
    Graph,
    InvalidDefinition,
    Node,
    NodeKind,
    OnError,
    Retry,
    Settings,
    TriggerKind,
)

PROVIDER: Final = "neutral"

_KINDS: Final = {kind.value: kind for kind in NodeKind} | {
    "http": NodeKind.REQUEST,
    "http_request": NodeKind.REQUEST,
    "webhook": NodeKind.TRIGGER,
    "schedule": NodeKind.TRIGGER,
    "condition": NodeKind.BRANCH,
    "if": NodeKind.BRANCH,
    "switch": NodeKind.BRANCH,
    "filter": NodeKind.BRANCH,
    "delay": NodeKind.WAIT,
    "function": NodeKind.CODE,
    "script": NodeKind.CODE,
}
_TRIGGERS: Final = {kind.value: kind for kind in TriggerKind}
_ON_ERROR: Final = {each.value: each for each in OnError}
_MOST_TRIES: Final = 1_000
_LONGEST_WAIT: Final = 24 * 60 * 60 * 1_000
_MOST_PORTS: Final = 1_000
_LONGEST: Final = 2**53


def graph_of(document: Mapping[str, Any]) -> Graph:
    """The graph of a definition in the neutral form. Raises InvalidDefinition."""
    problems: list[tuple[str, str]] = []
    nodes = _objects(document, "nodes", problems)
    edges = _objects(document, "edges", problems)
    made = [_node(node, f"nodes.{number}", problems) for number, node in enumerate(nodes)]
    joined = [_edge(edge, f"edges.{number}", problems) for number, edge in enumerate(edges)]
    if problems:
        raise InvalidDefinition(problems)
    active, tags = document.get("active"), document.get("tags")
    return Graph(
        nodes=tuple(made),
        edges=tuple(joined),
        name=_text(document.get("name")),
        provider=PROVIDER,
        active=active if isinstance(active, bool) else None,
        settings=_settings(document.get("settings")),
        tags=tuple(each for each in tags if isinstance(each, str))
        if isinstance(tags, list)
        else (),
    )


def _objects(
    document: Mapping[str, Any], name: str, problems: list[tuple[str, str]]
) -> list[Mapping[str, Any]]:
    """The list of objects called `name`."""
    value = document.get(name)
    if not isinstance(value, list):
        problems.append((name, "must be a list"))
        return []
    problems += [
        (f"{name}.{number}", "must be an object")
        for number, each in enumerate(value)
        if not isinstance(each, dict)
    ]
    return [each for each in value if isinstance(each, dict)]


def _node(node: Mapping[str, Any], loc: str, problems: list[tuple[str, str]]) -> Node:
    node_id = _text(node.get("id"))
    if not node_id:
        problems.append((f"{loc}.id", "is required"))
    trigger = _TRIGGERS.get(_text(node.get("trigger")))
    node_type = _text(node.get("type"))
    kind = NodeKind.TRIGGER if trigger else _kind(node, node_type)
    if kind is NodeKind.TRIGGER and trigger is None:
        trigger = _TRIGGERS.get(node_type, TriggerKind.APP)
    parameters = node.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    network = kind is NodeKind.REQUEST or node.get("network") is True
    method = _text(parameters.get("method")).upper()
    return Node(
        key=node_id,
        id=node_id,
        name=_text(node.get("name")) or node_id,
        kind=kind,
        type=node_type,
        trigger=trigger,
        parameters=parameters,
        disabled=node.get("disabled") is True,
        on_error=_ON_ERROR.get(_text(_either(node, "on_error", "onError")), OnError.STOP),
        retry=_retry(node, loc, problems),
        notes=_text(node.get("notes")),
        sends=network,
        effect=network and method not in ("", "GET", "HEAD", "OPTIONS"),
    )


def _kind(node: Mapping[str, Any], node_type: str) -> NodeKind:
    said = _text(node.get("kind")).lower()
    return _KINDS.get(said) or _KINDS.get(node_type.lower()) or NodeKind.ACTION


def _retry(node: Mapping[str, Any], loc: str, problems: list[tuple[str, str]]) -> Retry:
    numbers = _Numbers(node, loc, problems)
    return Retry(
        tries=1 + numbers.whole(_MOST_TRIES, "retries"),
        wait_ms=numbers.whole(_LONGEST_WAIT, "retry_wait_ms", "retryWaitMs"),
    )


def _edge(edge: Mapping[str, Any], loc: str, problems: list[tuple[str, str]]) -> Edge:
    source, target = _text(_either(edge, "source", "from")), _text(_either(edge, "target", "to"))
    problems += [
        (f"{loc}.{name}", "is required")
        for name, value in (("source", source), ("target", target))
        if not value
    ]
    numbers = _Numbers(edge, loc, problems)
    return Edge(
        source,
        target,
        kind=_text(edge.get("kind")) or MAIN,
        output=numbers.whole(_MOST_PORTS, "output"),
        input=numbers.whole(_MOST_PORTS, "input"),
    )


def _settings(settings: Any) -> Settings:
    if not isinstance(settings, dict):
        return Settings()
    limit = _either(settings, "time_limit_seconds", "timeLimitSeconds")
    is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
    return Settings(
        error_workflow=_text(_either(settings, "error_workflow", "errorWorkflow")) or None,
        time_limit=float(limit) if is_number and 0 < limit < _LONGEST else None,
        time_zone=_text(_either(settings, "time_zone", "timeZone")) or None,
    )


def _either(values: Mapping[str, Any], *names: str) -> Any:
    return next((values[name] for name in names if name in values), None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The whole numbers of an object; what is none is a problem of its place."""

    values: Mapping[str, Any]
    loc: str
    problems: list[tuple[str, str]]

    def whole(self, most: int, *names: str) -> int:
        """The number from 0 to `most` under the first of the names that is there; 0 without one."""
        name = next((each for each in names if self.values.get(each) is not None), None)
        if name is None:
            return 0
        value = self.values[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and 0 <= value <= most and value == int(value):
            return int(value)
        self.problems.append((f"{self.loc}.{name}", f"must be a whole number from 0 to {most:,}"))
        return 0
