"""How the nodes hang together."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping

from monitoring.graph import MAIN, Graph, Node, NodeKind, OnError, TriggerKind
from monitoring.words import Severity
from scheduling.lint.base import Rule, Subject, Violation, register


@register
class NoTrigger(Rule):
    """Nothing starts the workflow.

    It has no enabled trigger. A manual trigger alone starts nothing in an active workflow; in a draft
    that is only noted. A workflow that others call, with its Execute Workflow Trigger, is fine.
    """

    id, severity = "no-trigger", Severity.CRITICAL
    fixes = {
        "n8n": "Add a trigger: + → “On a schedule”, “On webhook call” or “When executed by another"
        " workflow”, and connect it to the first node. A grey trigger is switched on again by"
        " right-click → Activate.",
        "": "Add an enabled trigger and connect it to the first step.",
    }

    def check(self, subject: Subject) -> Iterator[Violation]:
        """Look at the enabled triggers."""
        graph = subject.graph
        if not any(node.is_live for node in graph.nodes):
            return
        if not graph.triggers:
            disabled = [node for node in graph.nodes if node.kind is NodeKind.TRIGGER]
            said = (
                f"its trigger “{disabled[0].name}” is disabled" if disabled else "it has no trigger"
            )
            yield self.violation(subject, f"Nothing starts this workflow: {said}.")
        elif all(trigger.trigger is TriggerKind.MANUAL for trigger in graph.triggers):
            yield self.violation(
                subject,
                "This active workflow has a manual trigger only, so it never runs by itself."
                if graph.active
                else "Only a person can start this workflow: its one trigger is manual.",
                detail="manual",
                severity=Severity.CRITICAL if graph.active else Severity.INFO,
            )


@register
class UnreachableNode(Rule):
    """No trigger reaches the node, so it never runs.

    Nodes that hang together are one finding, at the first of them. Notes, models or tools of an agent
    that is reached, and nodes whose parameters others read (`$node["Config"].parameter`) are fine; a
    workflow without any trigger has `no-trigger` instead.
    """

    id, severity = "unreachable-node", Severity.WARNING
    fixes = {
        "n8n": "Draw a connection from a node that runs to this one, or select it and press Delete.",
        "": "Connect it to a step that runs, or remove it.",
    }

    def check(self, subject: Subject) -> Iterator[Violation]:
        """Find the first node of everything that hangs together and is not reached."""
        graph = subject.graph
        if not graph.triggers:
            return
        lost = {n.key: n for n in graph.nodes if n.is_live and n.key not in graph.reached}
        for key in _read_for_parameters(subject) if lost else ():
            lost.pop(key, None)
        for place, node in enumerate(_first_of_each(graph, lost)):
            more = _said_behind(graph, node, lost) if place < _MOST_COUNTED else ""
            yield self.violation(subject, f"No trigger reaches “{node.name}”{more}.", node)


# So many findings say how much is behind them: each count walks through the graph.
_MOST_COUNTED = 20


def _said_behind(graph: Graph, node: Node, lost: Mapping[str, Node]) -> str:
    behind = len((graph.after([node.key]) & lost.keys()) - {node.key})
    return f", nor {behind} node{'s' if behind > 1 else ''} behind it" if behind else ""


_READS_PARAMETERS = re.compile(r"\$node\[\s*[\"']([^\"'\]]+)[\"']\s*\]\.parameter")


def _read_for_parameters(subject: Subject) -> Iterator[str]:
    """Keys of nodes that others use as a place for settings."""
    for texts in subject.strings.values():
        for _, text in texts:
            if ".parameter" in text:
                yield from _READS_PARAMETERS.findall(text)


def _first_of_each(graph: Graph, lost: Mapping[str, Node]) -> Iterator[Node]:
    """The lost nodes that no lost node leads to; of a closed ring, the first."""
    shown: set[str] = set()
    starts = [node for node in lost.values() if not _led_to_or_helping(graph, node, lost)]
    for node in [*starts, *lost.values()]:
        if node.key in shown:
            continue
        shown |= graph.after([node.key], without=shown) | {node.key}
        if not _helps(graph, node):
            yield node


def _led_to_or_helping(graph: Graph, node: Node, lost: Collection[str]) -> bool:
    return _helps(graph, node) or any(e.source in lost for e in graph.inputs(node))


def _helps(graph: Graph, node: Node) -> bool:
    """Whether it serves another node, which is the one to speak of."""
    leaving = graph.outgoing.get(node.key, ())
    return any(edge.kind != MAIN and edge.target in graph.by_key for edge in leaving)


@register
class EdgeToMissingNode(Rule):
    """A connection names a node that does not exist.

    That happens when JSON is edited by hand, imported or written through the API; data that should
    flow there is lost without a word. A leftover connection out of a missing node is a warning when
    its targets are reached anyway. An empty list of connections is fine.
    """

    id, severity = "edge-to-missing-node", Severity.CRITICAL
    fixes = {
        "n8n": "Open the workflow, draw the connection to the node that is meant, and save; in a file, put"
        " the node's present name into “connections” before importing it.",
        "": "Correct the name in the edge, or remove the edge.",
    }

    def check(self, subject: Subject) -> Iterator[Violation]:
        """One finding for each missing name."""
        graph = subject.graph
        losing: dict[str, list[str]] = {}
        left: dict[str, list[str]] = {}
        for edge in graph.edges:
            if edge.target not in graph.by_key and edge.source in graph.by_key:
                losing.setdefault(edge.target, []).append(edge.source)
            elif edge.source not in graph.by_key:
                left.setdefault(edge.source, []).append(edge.target)
        by_id = {node.id: node for node in graph.nodes if node.id}
        for name, sources in losing.items():
            node = graph.by_key[sources[0]]
            message = f"“{node.name}” leads to “{name}”, which does not exist."
            if name in by_id:
                message = (
                    f"“{node.name}” leads to “{name}”, which is the id of “{by_id[name].name}”:"
                    " connections go by names."
                )
            yield self.violation(subject, message, node, detail=name)
        for name, targets in left.items():
            harmless = all(target in graph.reached for target in targets)
            what = f"is the id of “{by_id[name].name}”" if name in by_id else "does not exist"
            yield self.violation(
                subject,
                f"A connection comes from “{name}”, which {what}, to “{targets[0]}”.",
                detail=name,
                severity=Severity.WARNING if harmless else None,
            )


@register
class DuplicateNodeName(Rule):
    """Several nodes have the same name.

    Connections, `$('name')` and the data of runs go by name, so which one is meant is left to chance.
    Names that differ in case only are noted.
    """

    id, severity = "duplicate-node-name", Severity.CRITICAL
    fixes = {
        "n8n": "Select the node, press F2 and give it a name of its own; then look whether its"
        " connections and expressions mean the right one.",
        "": "Give each step an id of its own.",
    }

    def check(self, subject: Subject) -> Iterator[Violation]:
        """Group the nodes by what connections call them."""
        groups: dict[str, list[Node]] = {}
        for node in subject.graph.nodes:
            if node.kind is not NodeKind.NOTE:
                groups.setdefault(node.key.casefold(), []).append(node)
        for nodes in groups.values():
            if len(nodes) > 1 and any(node.is_live for node in nodes):
                yield self._violation(subject, nodes)

    def _violation(self, subject: Subject, nodes: list[Node]) -> Violation:
        times = Counter(node.key for node in nodes)
        same = [node for node in nodes if times[node.key] > 1]
        if same:
            message = f"{len(same)} nodes are called “{same[0].key}”."
            return self.violation(subject, message, same[-1])
        names = " and ".join(f"“{node.key}”" for node in nodes[:3])
        message = f"{names} differ in case only."
        return self.violation(subject, message, nodes[-1], detail="case", severity=Severity.INFO)


@register
class EndlessCycle(Rule):
    """A cycle that nothing can leave.

    Once entered, it runs until n8n's memory or time ends it. A cycle is fine with a node that can lead
    or end it: IF, Switch, Filter, Loop Over Items, a wait for an answer, an error output, a node that
    may return nothing.
    """

    id, severity = "endless-cycle", Severity.CRITICAL
    fixes = {
        "n8n": "+ → Flow → IF, put into the cycle with one output that leads out of it and a counter or a"
        " time limit in its condition; to go through a list, use Loop Over Items instead.",
        "": "Put a condition into the cycle that can leave it, with a counter or a time limit.",
    }

    def check(self, subject: Subject) -> Iterator[Violation]:
        """Find the cycles that are left when nodes that may end or leave one are taken out."""
        graph = subject.graph
        for group in _rings(_without_exits(graph)):
            nodes = sorted((graph.by_key[key] for key in group), key=lambda node: node.id)
            names = " → ".join(f"“{node.name}”" for node in nodes[:4])
            more = f" and {len(nodes) - 4} more" if len(nodes) > 4 else ""
            message = f"Nothing can leave the cycle of {names}{more}."
            yield self.violation(subject, message, nodes[0])


_MAY_RETURN_NOTHING = frozenset(
    {"removeDuplicates", "limit", "splitOut", "itemLists", "compareDatasets", "aiTransform"}
)
_STOPS_IN_CODE = (
    "return []",
    "return [ ]",
    "return;",
    "return null",
    "throw",
    "return()",
    ".filter(",
)
_WAITS_FOR_ANSWER = frozenset({"webhook", "form"})
_MOST_ROUNDS = 20


def _without_exits(graph: Graph) -> dict[str, set[str]]:
    """Key → next keys, of the reached nodes at which no cycle may end or be left."""
    steps = {
        node.key: {edge.target for edge in graph.outputs(node)}
        for node in graph.by_key.values()
        if node.key in graph.reached and not _may_end(node)
    }
    choices = [graph.by_key[key] for key in steps if graph.by_key[key].kind is NodeKind.BRANCH]
    for _ in range(_MOST_ROUNDS):  # an exit that was found may be the exit of others
        rings = _numbered_rings(steps)
        exits = [node for node in choices if node.key in steps and _is_exit(graph, node, rings)]
        if not exits:
            break
        for node in exits:
            del steps[node.key]
    return steps


def _may_end(node: Node) -> bool:
    """Whether data may stop here, or leave for another reason than the choice of an IF."""
    if node.disabled:
        return False
    if node.on_error is OnError.ERROR_OUTPUT or node.kind in (NodeKind.LOOP, NodeKind.STOP):
        return True
    short = node.type.rpartition(".")[2]
    if node.kind is NodeKind.BRANCH:
        return short != "if"
    if node.kind is NodeKind.CODE:
        code = " ".join(str(each) for each in node.parameters.values())
        return any(stop in code for stop in _STOPS_IN_CODE)
    if node.kind is NodeKind.WAIT:
        return node.parameters.get("resume") in _WAITS_FOR_ANSWER
    return short in _MAY_RETURN_NOTHING


def _is_exit(graph: Graph, node: Node, rings: Mapping[str, int]) -> bool:
    """Whether one of the two outputs of an IF does not lead back to it.

    One does when it leads to a node of the same ring.
    """
    ring = rings[node.key]
    back = {edge.output for edge in graph.outputs(node) if rings.get(edge.target) == ring}
    return not {0, 1} <= back


def _numbered_rings(steps: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Key → number of its ring: nodes have the same when each leads to the other (Kosaraju)."""
    backward: dict[str, list[str]] = {key: [] for key in steps}
    for key, targets in steps.items():
        for target in targets:
            if target in backward:
                backward[target].append(key)
    numbers: dict[str, int] = {}
    for number, first in enumerate(reversed(_by_end(steps))):
        waiting = [first]
        while waiting:
            key = waiting.pop()
            if key not in numbers:
                numbers[key] = number
                waiting += backward[key]
    return numbers


def _by_end(steps: Mapping[str, Collection[str]]) -> list[str]:
    """Keys in the order in which a walk in depth is done with them."""
    ended: list[str] = []
    seen: set[str] = set()
    for first in steps:
        path = [] if first in seen else [(first, iter(steps[first]))]
        seen.add(first)
        while path:
            key, targets = path[-1]
            onward = next((each for each in targets if each in steps and each not in seen), None)
            if onward is None:
                ended.append(key)
                path.pop()
            else:
                seen.add(onward)
                path.append((onward, iter(steps[onward])))
    return ended


def _rings(steps: Mapping[str, Collection[str]]) -> Iterator[set[str]]:
    """Nodes of cycles among `steps`, those that hang together in one set."""
    onward = {key: {t for t in targets if t in steps} for key, targets in steps.items()}
    backward: dict[str, set[str]] = {key: set() for key in onward}
    for key, targets in onward.items():
        for target in targets:
            backward[target].add(key)
    _peel(onward, backward)
    _peel(backward, onward)
    while onward:
        waiting, group = [next(iter(onward))], set[str]()
        while waiting:
            key = waiting.pop()
            if key not in group:
                group.add(key)
                waiting += onward.pop(key) | backward.pop(key)
        yield group


def _peel(onward: dict[str, set[str]], backward: dict[str, set[str]]) -> None:
    """Take out what leads to nothing, again and again: it lies on no cycle."""
    waiting = [key for key, targets in onward.items() if not targets]
    while waiting:
        key = waiting.pop()
        del onward[key]
        for before in backward.pop(key):
            onward[before].discard(key)
            if not onward[before]:
                waiting.append(before)


@register
class DisabledInPath(Rule):
    """A disabled node in the middle of a path hands its input on unchanged.

    What comes behind it gets data that it was not built for. A disabled node at the end of a path, a
    disabled trigger, and a node that changes nothing anyway are fine.
    """

    id, severity = "disabled-in-path", Severity.WARNING
    fixes = {
        "n8n": "Right-click the node → Activate; or, when it is not needed any more, delete it: n8n"
        " then joins its neighbours.",
        "": "Enable the step, or remove it and join its neighbours.",
    }

    def check(self, subject: Subject) -> Iterator[Violation]:
        """Find disabled nodes that data goes through."""
        graph = subject.graph
        next_live = _next_live(graph) if any(node.disabled for node in graph.nodes) else {}
        for node in graph.nodes:
            if not node.disabled or node.kind in (NodeKind.TRIGGER, NodeKind.NOTE, NodeKind.HELPER):
                continue
            if node.type.endswith(".noOp") or node.key not in graph.reached:
                continue
            if node.key in next_live:
                name = next_live[node.key].name
                message = f"“{node.name}” is disabled: “{name}” gets its input unchanged."
                yield self.violation(subject, message, node)


def _next_live(graph: Graph) -> dict[str, Node]:
    """Key → the nearest live node that data comes to next, behind further disabled ones too."""
    found: dict[str, Node] = {}
    for key, node in graph.by_key.items():
        targets = (graph.by_key[edge.target] for edge in graph.outputs(node))
        live = next((target for target in targets if target.is_live), None)
        if live is not None:
            found[key] = live
    waiting = deque(found)
    while waiting:
        key = waiting.popleft()
        if graph.by_key[key].disabled:
            for before in sorted(each for each in graph.leading_to([key]) if each not in found):
                found[before] = found[key]
                waiting.append(before)
    return found
