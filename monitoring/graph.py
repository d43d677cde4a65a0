"""The neutral form of a workflow's definition, whatever provider it comes from.

Nodes are joined by `key`: what the provider's connections name them by (n8n: the name). A definition
can be broken: several nodes may share a key, and an edge may name none. Everything is read-only and
indexed on first use; all questions take time linear in nodes and edges: rules ask them once, not once
for each node, since senders choose how large and how tangled a definition is.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

MAIN: Final = "main"
"""The kind of edges that carry data; the others (`ai_tool`, …) lead from a helper to its user."""


class InvalidDefinition(ValueError):
    """JSON that is no definition; `errors` are (place in the document, what is wrong)."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{loc}: {msg}" if loc else msg for loc, msg in errors))
        self.errors = errors


class NodeKind(enum.Enum):
    """What a node does in the flow."""

    TRIGGER = "trigger"
    ACTION = "action"
    REQUEST = "request"
    BRANCH = "branch"
    LOOP = "loop"
    MERGE = "merge"
    WAIT = "wait"
    CODE = "code"
    CALL = "call"
    STOP = "stop"
    HELPER = "helper"
    NOTE = "note"


class TriggerKind(enum.Enum):
    """What starts a trigger; SUBWORKFLOW is another workflow, ERROR another one's failure."""

    MANUAL = "manual"
    WEBHOOK = "webhook"
    FORM = "form"
    CHAT = "chat"
    SCHEDULE = "schedule"
    APP = "app"
    SUBWORKFLOW = "subworkflow"
    ERROR = "error"


class OnError(enum.Enum):
    """What happens when a node fails: the execution stops, goes on as if nothing was, or branches."""

    STOP = "stop"
    CONTINUE = "continue"
    ERROR_OUTPUT = "error_output"


@dataclass(frozen=True, slots=True)
class Retry:
    """Tries of a failing node and the milliseconds between them; 1 try is none."""

    tries: int = 1
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One step. `type` is the provider's, `sends` whether it talks to another system over a network.

    `effect`: it changes something outside of the workflow (sends, writes, calls).
    """

    key: str
    id: str
    name: str
    kind: NodeKind
    type: str = ""
    type_version: float = 1.0
    trigger: TriggerKind | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    credentials: tuple[str, ...] = ()
    disabled: bool = False
    on_error: OnError = OnError.STOP
    retry: Retry = Retry()
    execute_once: bool = False
    always_output: bool = False
    position: tuple[float, float] | None = None
    notes: str = ""
    sends: bool = False
    effect: bool = False

    @property
    def is_live(self) -> bool:
        """Whether it does anything: enabled, and no note."""
        return not self.disabled and self.kind is not NodeKind.NOTE


@dataclass(frozen=True, slots=True)
class Edge:
    """One connection, from an output of one node to an input of another, by their keys."""

    source: str
    target: str
    kind: str = MAIN
    output: int = 0
    input: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the whole workflow; None: not said. The time limit is in seconds."""

    error_workflow: str | None = None
    time_limit: float | None = None
    time_zone: str | None = None
    callers: str | None = None
    saves_success: str | None = None
    saves_failure: str | None = None


@dataclass(frozen=True)
class Graph:
    """A workflow's structure. `active` None: not known. `pinned`: node key → its fixed output."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    name: str = ""
    provider: str = ""
    active: bool | None = None
    settings: Settings = Settings()
    tags: tuple[str, ...] = ()
    pinned: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def by_key(self) -> Mapping[str, Node]:
        """The first node of each key."""
        found: dict[str, Node] = {}
        for node in self.nodes:
            found.setdefault(node.key, node)
        return found

    @cached_property
    def outgoing(self) -> Mapping[str, tuple[Edge, ...]]:
        """Key → edges that leave it."""
        return _grouped((edge.source, edge) for edge in self.edges)

    @cached_property
    def incoming(self) -> Mapping[str, tuple[Edge, ...]]:
        """Key → edges that reach it."""
        return _grouped((edge.target, edge) for edge in self.edges)

    def outputs(self, node: Node, kind: str = MAIN) -> tuple[Edge, ...]:
        """The edges of one kind that leave a node and reach one that exists."""
        leaving = self.outgoing.get(node.key, ())
        return tuple(e for e in leaving if e.kind == kind and e.target in self.by_key)

    def inputs(self, node: Node, kind: str = MAIN) -> tuple[Edge, ...]:
        """The edges of one kind that reach a node from one that exists."""
        arriving = self.incoming.get(node.key, ())
        return tuple(e for e in arriving if e.kind == kind and e.source in self.by_key)

    @cached_property
    def triggers(self) -> tuple[Node, ...]:
        """The enabled triggers."""
        return tuple(n for n in self.nodes if n.kind is NodeKind.TRIGGER and not n.disabled)

    @cached_property
    def reached(self) -> frozenset[str]:
        """Keys of what the enabled triggers reach, helpers of reached nodes included.

        A disabled node hands its input on unchanged, so what is behind it is reached.
        """
        found = self.after(trigger.key for trigger in self.triggers)
        return self._with_helpers(found | {trigger.key for trigger in self.triggers})

    def after(self, keys: Iterable[str], *, without: Collection[str] = ()) -> set[str]:
        """Keys of all nodes that data from these nodes may come to, along main edges.

        Not those in `without`, nor what only they lead to.
        """
        return _walk(keys, self._next, without)

    def before(self, keys: Iterable[str]) -> set[str]:
        """Keys of all nodes from which data may come to these nodes, along main edges."""
        return _walk(keys, self._previous)

    def leading_to(self, keys: Collection[str]) -> set[str]:
        """Keys of the nodes from which one main edge leads to any of these."""
        return {source for key in keys for source in self._previous.get(key, ())}

    def _with_helpers(self, keys: set[str]) -> frozenset[str]:
        found = set(keys)
        waiting = deque(found)
        while waiting:
            for edge in self.incoming.get(waiting.popleft(), ()):
                if edge.kind != MAIN and edge.source in self.by_key and edge.source not in found:
                    found.add(edge.source)
                    waiting.append(edge.source)
        return frozenset(found)

    @cached_property
    def _next(self) -> Mapping[str, tuple[str, ...]]:
        return self._joined(lambda edge: (edge.source, edge.target))

    @cached_property
    def _previous(self) -> Mapping[str, tuple[str, ...]]:
        return self._joined(lambda edge: (edge.target, edge.source))

    def _joined(self, ends: Any) -> Mapping[str, tuple[str, ...]]:
        whole = (e for e in self.edges if e.source in self.by_key and e.target in self.by_key)
        return _grouped(ends(edge) for edge in whole if edge.kind == MAIN)


def _grouped(pairs: Iterable[tuple[str, Any]]) -> dict[str, tuple[Any, ...]]:
    found: dict[str, list[Any]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in found.items()}


def _walk(
    keys: Iterable[str], steps: Mapping[str, tuple[str, ...]], without: Collection[str] = ()
) -> set[str]:
    """What is reached by at least one step."""
    found: set[str] = set()
    waiting = deque(keys)
    while waiting:
        for key in steps.get(waiting.popleft(), ()):
            if key not in found and key not in without:
                found.add(key)
                waiting.append(key)
    return found
