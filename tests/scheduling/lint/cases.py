"""For each rule a workflow that violates it, and the cases next door that must stay silent or mild."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from monitoring.words import Severity, Status
from scheduling.lint.base import Facts, NodeFailures

Document = dict[str, Any]
INFO, WARNING = Severity.INFO, Severity.WARNING


def node(name: str, node_type: str = "set", **more: Any) -> Document:
    """A node of n8n's own package; `parameters` are empty unless said."""
    full_type = node_type if "." in node_type else f"n8n-nodes-base.{node_type}"
    made = {
        "id": f"id-{name}",
        "name": name,
        "type": full_type,
        "typeVersion": 2,
        "position": [0, 0],
    }
    return made | {"parameters": {}} | more


def workflow(
    *nodes: Document, edges: Sequence[tuple[Any, ...]] = (), active: bool | None = True, **more: Any
) -> Document:
    """A workflow; edges are (from, to) or (from, to, output, kind)."""
    connections: dict[str, dict[str, list[list[Document]]]] = {}
    for source, target, *rest in edges:
        output = rest[0] if rest else 0
        kind = rest[1] if len(rest) > 1 else "main"
        outputs = connections.setdefault(source, {}).setdefault(kind, [])
        outputs += [[] for _ in range(output + 1 - len(outputs))]
        outputs[output].append({"node": target, "type": kind, "index": 0})
    document = {"name": "W", "nodes": list(nodes), "connections": connections, **more}
    return document if active is None else document | {"active": active}


HOOK = node("Hook", "scheduleTrigger")
MANUAL = node("Click", "manualTrigger")
URL = {"url": "https://api.example.org/orders"}
TIMED = URL | {"options": {"timeout": 5000}}


def behind(*nodes: Document, trigger: Document = HOOK, **more: Any) -> Document:
    """The nodes one after the other behind a trigger."""
    names = [trigger["name"], *(each["name"] for each in nodes)]
    return workflow(trigger, *nodes, edges=list(itertools.pairwise(names)), **more)


@dataclass(frozen=True)
class Case:
    """`violating` breaks the rule with its own severity; `mild` with another one; `silent` not."""

    violating: Document
    silent: Sequence[Document]
    mild: Sequence[tuple[Document, Severity]] = ()
    facts: Facts = field(default_factory=Facts)
    silent_facts: Sequence[tuple[Document, Facts]] = ()
    mild_facts: Sequence[tuple[Document, Facts, Severity]] = ()


_IF_BACK = workflow(
    HOOK, node("A"), node("If", "if"), node("B"),
    edges=[("Hook", "A"), ("A", "If"), ("If", "A", 1), ("If", "B", 0)],
)  # fmt: skip
_LOOP = workflow(
    HOOK, node("Loop", "splitInBatches"), node("A"),
    edges=[("Hook", "Loop"), ("Loop", "A", 1), ("A", "Loop")],
)  # fmt: skip
_RING = workflow(
    HOOK, node("A"), node("B", "wait", parameters={"amount": 5}),
    edges=[("Hook", "A"), ("A", "B"), ("B", "A")],
)  # fmt: skip
# Both outputs of the IF lead back, one of them through a loop that ends.
_RETRY_IN_LOOP = workflow(
    HOOK, node("Loop", "splitInBatches"), node("Call"), node("Limited?", "if"), node("Pause", "wait"),
    edges=[
        ("Hook", "Loop"), ("Loop", "Call", 1), ("Call", "Limited?"), ("Limited?", "Pause", 0),
        ("Pause", "Call"), ("Limited?", "Loop", 1),
    ],
)  # fmt: skip
_BOTH_BACK = workflow(
    HOOK, node("A"), node("If", "if"),
    edges=[("Hook", "A"), ("A", "If"), ("If", "A", 0), ("If", "A", 1)],
)  # fmt: skip
_CONTINUE = {"onError": "continueRegularOutput"}
_MAIL = node("Mail", "emailSend", parameters={"toEmail": "a@example.org"})
_EMPTY_CONDITION = {"conditions": {"conditions": [{"leftValue": "", "rightValue": ""}]}}
_CONDITION = {"conditions": {"conditions": [{"leftValue": "={{ $json.a }}", "rightValue": 1}]}}
_SECRET = "k3Jx9Qm2Vw7Rt5Zb"


def _hook(**parameters: Any) -> Document:
    return node("Web", "webhook", parameters={"path": "orders"} | parameters)


CASES: Mapping[str, Case] = {
    "no-trigger": Case(
        violating=workflow(node("A")),
        silent=[
            behind(node("A")),
            behind(node("A"), trigger=node("Called", "executeWorkflowTrigger")),
            workflow(),
            workflow(node("Note", "stickyNote")),
        ],
        mild=[
            (behind(node("A"), trigger=MANUAL, active=False), INFO),
            (behind(node("A"), trigger=MANUAL, active=True), Severity.CRITICAL),
            (behind(node("A"), trigger=HOOK | {"disabled": True}), Severity.CRITICAL),
        ],
    ),
    "unreachable-node": Case(
        violating=workflow(HOOK, node("A"), node("Lost"), edges=[("Hook", "A")]),
        silent=[
            workflow(HOOK, node("Note", "stickyNote")),
            workflow(
                HOOK, node("Agent", "@n8n/n8n-nodes-langchain.agent"),
                node("Model", "@n8n/n8n-nodes-langchain.lmChatOpenAi"),
                edges=[("Hook", "Agent"), ("Model", "Agent", 0, "ai_languageModel")],
            ),
            workflow(node("A"), node("B")),
            workflow(HOOK, node("Off", disabled=True)),
            workflow(
                HOOK, node("Config"),
                node("A", parameters={"value": '={{ $node["Config"].parameter["values"] }}'}),
                edges=[("Hook", "A")],
            ),
        ],
    ),
    "edge-to-missing-node": Case(
        violating=workflow(HOOK, node("A"), edges=[("Hook", "A"), ("A", "Renamed")]),
        silent=[
            behind(node("A")),
            workflow(HOOK, node("A"), edges=[("Hook", "A")]) | {"connections": {"Hook": {"main": [None]}}},
        ],
        mild=[(workflow(HOOK, node("A"), edges=[("Hook", "A"), ("Start", "A")]), WARNING)],
    ),
    "duplicate-node-name": Case(
        violating=workflow(HOOK, node("A"), node("A") | {"id": "id-2"}, edges=[("Hook", "A")]),
        silent=[
            behind(node("A"), node("A1")),
            workflow(HOOK, node("A"), node("A", "stickyNote")),
        ],
        mild=[(behind(node("Sync"), node("sync")), INFO)],
    ),
    "endless-cycle": Case(
        violating=_RING,
        silent=[_IF_BACK, _LOOP, _RETRY_IN_LOOP, behind(node("A"), node("B"))],
        mild=[(_BOTH_BACK, Severity.CRITICAL)],
    ),
    "disabled-in-path": Case(
        violating=behind(node("Off", disabled=True), node("B")),
        silent=[
            behind(node("A"), node("Off", disabled=True)),
            workflow(HOOK, node("Other", "webhook", disabled=True), node("A"),
                     edges=[("Hook", "A"), ("Other", "A")]),
            behind(node("Off", "noOp", disabled=True), node("B")),
        ],
    ),
    "webhook-no-auth": Case(
        violating=behind(node("A"), trigger=_hook()),
        silent=[
            behind(node("A"), trigger=_hook(authentication="headerAuth")),
            behind(node("Sign", "crypto", parameters={"action": "hmac"}), trigger=_hook()),
            behind(
                node("A"),
                node("Signed?", "if", parameters={"c": "={{ $json.headers['x-signature'] }}"}),
                trigger=_hook(),
            ),
        ],
        mild=[
            (behind(trigger=_hook(path="5d58aa36-a90f-4ec3-ab44-2006a370ae56")), INFO),
            (behind(trigger=node("Form", "formTrigger")), INFO),
            (behind(trigger=_hook(path="one-two-three-four-five-six")), Severity.CRITICAL),
        ],
    ),
    "no-error-workflow": Case(
        violating=behind(_MAIL),
        silent=[
            behind(_MAIL, settings={"errorWorkflow": "17"}),
            behind(_MAIL, active=False),
            behind(_MAIL, active=None),
            behind(node("Get", "httpRequest", parameters=URL)),
            behind(
                node("Ask", "httpRequest",
                     parameters={"method": "POST", "url": "https://api.perplexity.ai/chat/completions"})
            ),
            behind(_MAIL, trigger=node("Called", "executeWorkflowTrigger")),
            workflow(HOOK, _MAIL, node("Failed", "errorTrigger"), edges=[("Hook", "Mail")]),
        ],
        silent_facts=[(behind(_MAIL), Facts(is_pushed=True))],
        mild_facts=[(behind(_MAIL), Facts(synced_every=dt.timedelta(minutes=5)), INFO)],
    ),
    "error-swallowed": Case(
        violating=behind(node("Call", "httpRequest", parameters=URL, **_CONTINUE), node("B")),
        silent=[
            behind(node("Call", "httpRequest", parameters=URL), node("B")),
            behind(
                node("Call", "httpRequest", parameters=URL, **_CONTINUE),
                node("Failed?", "if", parameters={"conditions": {"a": "={{ $json.error }}"}}),
            ),
        ],
        mild=[
            (behind(node("Tell", "slack", **_CONTINUE)), INFO),
            (behind(node("Old", "httpRequest", parameters=URL, continueOnFail=True)), WARNING),
            (
                workflow(
                    HOOK, node("Call", "httpRequest", onError="continueErrorOutput"),
                    node("Clean up", "httpRequest", **_CONTINUE),
                    edges=[("Hook", "Call"), ("Call", "Clean up", 1)],
                ),
                INFO,
            ),
        ],
    ),
    "no-retry-on-network": Case(
        violating=behind(node("Call", "httpRequest", parameters=URL)),
        silent=[
            behind(node("Call", "httpRequest", parameters=URL, retryOnFail=True)),
            behind(node("Call", "httpRequest", parameters=URL, onError="continueErrorOutput")),
            behind(node("Call", "httpRequest", parameters=URL), trigger=MANUAL),
            behind(node("A"), node("C", "code")),
        ],
        mild=[
            (
                behind(node("Charge", "httpRequest",
                            parameters={"method": "POST", "url": "https://api.stripe.com/v1/charges"})),
                INFO,
            )
        ],
        mild_facts=[
            (
                behind(node("Call", "httpRequest", parameters=URL)),
                Facts(failures_by_node={"Call": NodeFailures(9, 8), "Other": NodeFailures(3, 2)}),
                Severity.CRITICAL,
            ),
            (
                behind(node("Call", "httpRequest", parameters=URL)),
                Facts(failures_by_node={"id-Call": NodeFailures(2, 2), "Other": NodeFailures(9, 9)}),
                WARNING,
            ),
        ],
    ),
    "no-timeout": Case(
        violating=behind(node("Call", "httpRequest", parameters=URL)),
        silent=[
            behind(node("Call", "httpRequest", parameters=TIMED)),
            behind(node("Call", "httpRequest", parameters=URL), trigger=MANUAL),
        ],
    ),
    "reference-to-missing-node": Case(
        violating=behind(node("A"), node("B", parameters={"value": "={{ $('Gone').item.json.id }}"})),
        silent=[
            behind(node("A"), node("B", parameters={"value": "={{ $('A').item.json.id }}"})),
            behind(node("B", "code", parameters={"jsCode": "// $('Gone').all()\nreturn $input.all();"})),
            behind(node("B", "code", parameters={"jsCode": "const $ = cheerio.load(h); $('.title')"})),
            behind(node("B", parameters={"text": "write $('Gone') to read a node"})),
            behind(node("It's"), node("B", parameters={"v": "={{ $('It\\'s').first() }}"})),
        ],
        mild=[
            (behind(node("B", parameters={"v": '={{ $node["Gone"].json.id }}'})), Severity.CRITICAL),
            (behind(node("B", "code", parameters={"jsCode": "return $items('Gone')"})), Severity.CRITICAL),
        ],
    ),
    "missing-required-parameter": Case(
        violating=behind(node("Call", "httpRequest", parameters={"options": {"timeout": 5}})),
        silent=[
            behind(node("Call", "httpRequest", parameters={"url": "={{ $json.url }}"})),
            behind(node("C", "code")),
            behind(node("If", "if", parameters=_CONDITION)),
            behind(node("Db", "postgres", parameters={"operation": "executeQuery", "query": "SELECT 1"})),
            behind(node("Gm", "gmail", parameters={"operation": "get"})),
            behind(node("Run", "executeWorkflow", parameters={"workflowId": {"__rl": True, "value": "7"}})),
        ],
        mild=[
            (behind(broken), Severity.CRITICAL)
            for broken in (
                node("If", "if", parameters=_EMPTY_CONDITION),
                node("C", "code", parameters={"jsCode": "  "}),
                node("Db", "postgres", parameters={"operation": "executeQuery"}),
                node("Db", "mySql", parameters={"operation": "insert", "table": {"__rl": True, "value": ""}}),
                node("Mail", "emailSend"),
                node("Gm", "gmail", parameters={"options": {}}),
                node("Run", "executeWorkflow", parameters={"options": {}}),
                node("Sw", "switch", parameters={"rules": {"values": []}}),
            )
        ],
    ),
    "secret-in-plain-text": Case(
        violating=behind(node("Call", "httpRequest", parameters=TIMED | {"apiKey": _SECRET})),
        silent=[
            behind(node("Call", "httpRequest", parameters=TIMED | {"apiKey": "={{ $env.KEY }}"})),
            behind(node("Call", "httpRequest", parameters=TIMED | {"apiKey": "YOUR_API_KEY"})),
            behind(node("A", parameters={"text": "AKIAIOSFODNN7EXAMPLE"})),
            behind(node("A", parameters={"token": "some words"})),
        ],
        mild=[
            (behind(node("A", "code", parameters={"jsCode": f'let token = "{_SECRET}"'})), Severity.CRITICAL),
            (behind(node("A"), pinData={"A": [{"json": {"apiKey": _SECRET}}]}), Severity.CRITICAL),
        ],
    ),
    "tls-check-off": Case(
        violating=behind(
            node("Call", "httpRequest", parameters=URL | {"options": {"allowUnauthorizedCerts": True}})
        ),
        silent=[
            behind(node("Call", "httpRequest", parameters=TIMED)),
            behind(
                node("Call", "httpRequest", parameters=URL | {"options": {"allowUnauthorizedCerts": False}})
            ),
        ],
        mild=[
            (
                behind(
                    node("Call", "httpRequest",
                         parameters={"url": url, "options": {"allowUnauthorizedCerts": True}})
                ),
                WARNING,
            )
            for url in ("https://nas.local/x", "https://10.0.0.3:8443/", "=https://n8n/{{ $json.id }}")
        ],
    ),
    "always-failing": Case(
        violating=behind(node("A")),
        facts=Facts(recent=(Status.RUNNING, *[Status.FAILED] * 20, Status.SUCCESS)),
        silent=[],
        silent_facts=[
            (behind(node("A")), Facts(recent=(Status.FAILED,) * 4)),
            (behind(node("A")), Facts(recent=(Status.SUCCESS, *[Status.FAILED] * 19))),
            (behind(node("A")), Facts(recent=(Status.CANCELED,) * 20)),
        ],
        mild_facts=[(behind(node("A")), Facts(recent=(Status.FAILED,) * 5), Severity.CRITICAL)],
    ),
}  # fmt: skip
