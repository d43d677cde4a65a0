"""What happens when something fails."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from monitoring.graph import Graph, Node, NodeKind, OnError, TriggerKind
from monitoring.words import Severity
from scheduling.lint.base import NodeRule, Rule, Subject, Violation, register

_OFTEN: Final = dt.timedelta(minutes=5)
_CALLED: Final = frozenset({TriggerKind.SUBWORKFLOW, TriggerKind.ERROR, TriggerKind.MANUAL})


@register
class NoErrorWorkflow(Rule):
    """Nobody is told when the workflow fails.

    An active workflow that changes something elsewhere has neither an error workflow, nor an Error
    Trigger of its own, nor are its executions sent here. Noted only when Flowwatch reads its executions
    at least every 5 minutes. Sub-workflows are fine: their failure is their caller's.
    """

    id, severity = "no-error-workflow", Severity.WARNING
    fixes = {
        "n8n": "Open the workflow → ⋯ → Settings → Error workflow, and choose one with an Error Trigger"
        " that tells Flowwatch or a person.",
        "": "Name an error workflow in the settings, or send its executions to Flowwatch.",
    }

    def check(self, subject: Subject) -> Iterator[Violation]:
        """Look at the workflow's settings and at what its nodes do."""
        graph, facts = subject.graph, subject.facts
        if graph.active is not True or graph.settings.error_workflow or facts.is_pushed:
            return
        kinds = {trigger.trigger for trigger in graph.triggers}
        if TriggerKind.ERROR in kinds or kinds <= _CALLED:
            return
        changing = [n for n in graph.nodes if n.effect and n.key in subject.unattended]
        if not changing:
            return
        is_read = facts.synced_every is not None and facts.synced_every <= _OFTEN
        others = f" and {len(changing) - 1} more" if len(changing) > 1 else ""
        yield self.violation(
            subject,
            f"Nobody is told when this workflow fails; it sends or changes something at"
            f" “{changing[0].name}”{others}.",
            severity=Severity.INFO if is_read else None,
        )


_LOOKS_AT_ERROR: Final = re.compile(
    r"error|\bfail|statusCode|status_code|httpCode|\bok\b|success", re.IGNORECASE
)
_LOOKING_KINDS: Final = frozenset({NodeKind.BRANCH, NodeKind.CODE, NodeKind.STOP})
_NOTIFYING: Final = re.compile(
    r"^(?:slack|telegram|discord|mattermost|rocketchat|microsoftTeams|pushover|pushbullet|gotify|signl4"
    r"|twilio|matrix|zulip|line|emailSend|gmail|mailgun|sendGrid|mailjet|awsSes|googleChat|whatsApp)$"
)


@register
class ErrorSwallowed(Rule):
    """A failure of the node counts as success.

    It goes on as if nothing was (“Continue”), and no IF, Switch, Filter or Code behind it looks at
    `error`. Noted only where the node is the last one and just notifies somebody, or cleans up after an
    error that was caught before.
    """

    id, severity = "error-swallowed", Severity.WARNING
    fixes = {
        "n8n": "Open the node → Settings → On Error → “Continue (using error output)” and connect that"
        " output; or put an IF on {{ $json.error }} behind the node.",
        "": "Give the step an error output, or look at the error behind it.",
    }

    def check(self, subject: Subject) -> Iterator[Violation]:
        """Look at nodes that go on after an error."""
        graph = subject.graph
        going_on = [node for node in graph.nodes if _goes_on(graph, node)]
        if not going_on:
            return
        nodes = graph.by_key.values()
        looked_at = graph.before([node.key for node in nodes if _looks_at_error(node)])
        harmless = {node.key for node in nodes if _cleans_up(graph, node)}
        followed = graph.leading_to(graph.by_key)
        for node in going_on:
            if node.key in looked_at:
                continue
            is_last_notice = node.key not in followed and _notifies(node)
            yield self.violation(
                subject,
                f"When “{node.name}” fails, the execution goes on and counts as a success.",
                node,
                severity=Severity.INFO if is_last_notice or node.key in harmless else None,
            )


def _goes_on(graph: Graph, node: Node) -> bool:
    """Whether a node that runs goes on after an error as if nothing was."""
    return (
        node.is_live
        and node.on_error is OnError.CONTINUE
        and node.kind not in (NodeKind.HELPER, NodeKind.TRIGGER)
        and node.key in graph.reached
    )


def _notifies(node: Node) -> bool:
    return _NOTIFYING.match(node.type.rpartition(".")[2]) is not None


def _cleans_up(graph: Graph, node: Node) -> bool:
    """Whether the node runs only after another one's error output."""
    inputs = graph.inputs(node)
    sources = (graph.by_key[edge.source] for edge in inputs if edge.output > 0)
    caught = [source for source in sources if source.on_error is OnError.ERROR_OUTPUT]
    return bool(inputs) and len(caught) == len(inputs)


def _looks_at_error(node: Node) -> bool:
    """Whether the node decides by an error, or only passes it on to somebody."""
    if not node.is_live:
        return False
    text = str(node.parameters)
    if _LOOKS_AT_ERROR.search(text) is None:
        return False
    return node.kind in _LOOKING_KINDS or "error" in text.lower()


_PAYING: Final = re.compile(
    r"stripe|paypal|braintree|adyen|checkout\.com|mollie|squareup|razorpay|payment", re.I
)
_MOST: Final = 0.5
_LEAST_PASSING: Final = 3


@register
class NoRetryOnNetwork(NodeRule):
    """One hiccup of the network fails the whole execution.

    A node that calls another system, on a path that runs unattended, has neither retries nor an error
    output. Critical when history shows that it caused most of the failures that pass by themselves
    (time-outs, 429, 5xx, connections). Payments are noted only: repeat them with an idempotency key.
    """

    id, severity = "no-retry-on-network", Severity.WARNING
    fixes = {
        "n8n": "Open the node → Settings → Retry On Fail, with 3 tries and 2000 ms between them; where"
        " doing it twice would harm, On Error → “Continue (using error output)” instead.",
        "": "Retry the step a few times with a pause, or give it an error output.",
    }
    _paying_fix: Final = (
        "Send an idempotency key with the request, so that the other side charges once, and then turn on"
        " Settings → Retry On Fail."
    )

    def check_node(self, number: int, node: Node, subject: Subject) -> Iterator[Violation]:
        """Look at nodes that call another system."""
        if not node.sends or node.key not in subject.unattended:
            return
        if node.retry.tries > 1 or node.on_error is OnError.ERROR_OUTPUT:
            return
        message = f"“{node.name}” calls another system without a second try or an error output."
        if node.effect and _pays(node):
            yield self.violation(
                subject, message, node, severity=Severity.INFO, fix=self._paying_fix
            )
            return
        evidence = _evidence(node, subject)
        severity = Severity.CRITICAL if evidence else None
        yield self.violation(subject, message, node, severity=severity, evidence=evidence)


def _pays(node: Node) -> bool:
    url = node.parameters.get("url")
    return _PAYING.search(f"{node.type} {url if isinstance(url, str) else ''}") is not None


def _evidence(node: Node, subject: Subject) -> str:
    """That the node caused most of the failures that pass by themselves; "" when it did not."""
    own = subject.facts.failures_of(node).passing
    if own < _LEAST_PASSING:
        return ""
    all_passing = subject.facts.passing
    if own <= _MOST * all_passing:
        return ""
    return f"Caused {own} of the last {all_passing} failures that pass by themselves."


@register
class NoTimeout(NodeRule):
    """HTTP request without a time limit of its own.

    One slow server then holds the execution for n8n's default of 5 minutes, or for as long as the other
    side likes. Only requests on a path that runs unattended count.
    """

    id, severity = "no-timeout", Severity.WARNING
    applies_to = frozenset({NodeKind.REQUEST})
    fixes = {
        "n8n": "Open the node → Options → Add option → Timeout, for example 10000 ms.",
        "": "Set `timeout` in the step's parameters, in milliseconds.",
    }

    def check_node(self, number: int, node: Node, subject: Subject) -> Iterator[Violation]:
        """Look at the time-out option."""
        is_n8n = subject.graph.provider == "n8n"
        if node.key not in subject.unattended or (
            is_n8n and not node.type.endswith(".httpRequest")
        ):
            return
        options: Any = node.parameters.get("options")
        places = [node.parameters, options if isinstance(options, Mapping) else {}]
        if not any(place.get("timeout") or place.get("timeout_ms") for place in places):
            yield self.violation(
                subject, f"“{node.name}” waits for its answer without limit.", node
            )
