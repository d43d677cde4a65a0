"""What a rule is: one class that finds one kind of mistake.

    @register
    class RequestWithoutTimeout(NodeRule):
        \"\"\"HTTP request without a time limit.

        One slow server then holds the whole execution. …
        \"\"\"

        id, severity = "no-timeout", Severity.WARNING
        applies_to = frozenset({NodeKind.REQUEST})
        fixes = {"n8n": "Open the node → Options → Add option → Timeout …", "": "Set …"}

        def check_node(self, node: Node, subject: Subject) -> Iterator[Violation]:
            if …:
                yield self.violation(subject, f"…", node)

Ids are stable: people ignore findings and write checks against them. The docstring's first sentence is
the rule's title, the rest explains it; pages and docs/lint.md show both. A class in a module of
`scheduling/lint/rules/` is all that a rule needs. It takes time linear in the definition (tests hold it
to that): what is asked of the whole graph is asked once, not for each node.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, TypeVar

from monitoring.graph import Graph, Node, NodeKind, TriggerKind
from monitoring.words import Severity, Status

_FINGERPRINT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class NodeFailures:
    """How often a node made executions fail lately, and how often for a passing reason.

    Passing are time-out, rate limit, connection: what the next try may not meet.
    """

    failed: int = 0
    passing: int = 0


@dataclass(frozen=True)
class Facts:
    """What history and environment say about a workflow.

    `recent`: statuses of the newest executions, newest first. `failures_by_node`: by the node's id or
    name, as executions name it. `is_pushed`: its executions are sent here as they happen.
    `synced_every`: how often they are read from the provider, None: never.
    """

    recent: tuple[Status, ...] = ()
    failures_by_node: Mapping[str, NodeFailures] = dataclasses.field(default_factory=dict)
    is_pushed: bool = False
    synced_every: dt.timedelta | None = None

    @cached_property
    def passing(self) -> int:
        """The failures of all nodes that pass by themselves."""
        return sum(each.passing for each in self.failures_by_node.values())

    def failures_of(self, node: Node) -> NodeFailures:
        """The failures that a node caused."""
        found = self.failures_by_node
        return found.get(node.id) or found.get(node.name) or NodeFailures()


@dataclass(frozen=True, slots=True)
class Violation:
    """One mistake in one workflow.

    `fingerprint` is the same for the same mistake in another version or scan, wherever the node stands
    on the canvas and however other nodes are called. `node_id` is empty for the workflow itself.
    """

    rule: str
    severity: Severity
    message: str
    fix: str
    fingerprint: str
    node_id: str = ""
    node_name: str = ""
    evidence: str = ""


@dataclass(frozen=True)
class Subject:
    """A workflow under check: its graph, the facts, and what several rules ask of them."""

    graph: Graph
    facts: Facts

    @cached_property
    def unattended(self) -> frozenset[str]:
        """Keys of the live nodes that run without a person who watches: behind no manual trigger."""
        graph = self.graph
        starts = [t.key for t in graph.triggers if t.trigger is not TriggerKind.MANUAL]
        found = graph.after(starts) | set(starts)
        return frozenset(key for key in found if graph.by_key[key].is_live)

    @cached_property
    def strings(self) -> Mapping[int, tuple[tuple[str, str], ...]]:
        """Every text in a node's parameters, as (name of its field, text), by position of the node."""
        return {
            number: tuple(texts_in(node.parameters)) if node.is_live else ()
            for number, node in enumerate(self.graph.nodes)
        }


class Rule(ABC):
    """One kind of mistake. `options` are its numbers with their defaults.

    `fixes`: how to mend it, by provider, in that provider's own words; "" for all others.
    """

    id: ClassVar[str]
    severity: ClassVar[Severity]
    fixes: ClassVar[Mapping[str, str]]
    options: ClassVar[Mapping[str, int]] = {}

    @abstractmethod
    def check(self, subject: Subject) -> Iterator[Violation]:
        """Yield what violates the rule; the same for the same subject, in the same order."""

    @property
    def title(self) -> str:
        """What the rule finds, in a sentence."""
        return self._text[0]

    @property
    def explanation(self) -> str:
        """Why it matters, and what the rule lets pass."""
        return self._text[2].strip()

    @property
    def _text(self) -> tuple[str, str, str]:
        return (inspect.getdoc(self) or "").partition("\n\n")

    def violation(
        self,
        subject: Subject,
        message: str,
        node: Node | None = None,
        *,
        detail: str = "",
        severity: Severity | None = None,
        fix: str = "",
        evidence: str = "",
    ) -> Violation:
        """One violation; `detail` tells several of one node apart, without naming other nodes."""
        return Violation(
            rule=self.id,
            severity=self.severity if severity is None else severity,
            message=message,
            fix=fix or self.fixes.get(subject.graph.provider, self.fixes[""]),
            fingerprint=_fingerprint(self.id, node.id if node else "", detail),
            node_id=node.id if node else "",
            node_name=node.name if node else "",
            evidence=evidence,
        )


class NodeRule(Rule):
    """A rule that looks at one live node after the other; `applies_to` empty: at all kinds."""

    applies_to: ClassVar[frozenset[NodeKind]] = frozenset()

    def check(self, subject: Subject) -> Iterator[Violation]:
        """Ask every node that the rule applies to."""
        for number, node in enumerate(subject.graph.nodes):
            if node.is_live and (not self.applies_to or node.kind in self.applies_to):
                yield from self.check_node(number, node, subject)

    @abstractmethod
    def check_node(self, number: int, node: Node, subject: Subject) -> Iterator[Violation]:
        """Yield what is wrong with a node; `number` is its position in the graph."""


_RuleClass = TypeVar("_RuleClass", bound=type[Rule])
RULES: dict[str, Rule] = {}
"""Every registered rule by its id."""


def register(rule: _RuleClass) -> _RuleClass:
    """Add a rule; raise ValueError when its id is taken."""
    if rule.id in RULES:
        raise ValueError(f"There is a rule {rule.id!r} already.")
    RULES[rule.id] = rule()
    return rule


def _fingerprint(*parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=_FINGERPRINT_BYTES).hexdigest()


def texts_in(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value with the name of the field that it stands in."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from texts_in(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from texts_in(each, name)
