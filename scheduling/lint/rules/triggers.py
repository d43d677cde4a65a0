"""What starts a workflow, and who may."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from monitoring.graph import Graph, Node, NodeKind, TriggerKind
from monitoring.words import Severity
from scheduling.lint.base import Rule, Subject, Violation, register

_STEPS_TO_CHECK: Final = 2
_NAMES_HEADER: Final = re.compile(
    r"headers?\b|signature|hmac|x-hub|authorization|verify|secret|api[_-]?key|token", re.IGNORECASE
)
_CHECKING_KINDS: Final = frozenset({NodeKind.BRANCH, NodeKind.CODE})
_PATH_PART: Final = re.compile(r"[A-Za-z0-9_-]{20,}")
_HEX: Final = re.compile(r"[0-9a-fA-F-]{20,}")


@register
class WebhookNoAuth(Rule):
    """Anybody who knows the address can start the workflow.

    A webhook or form trigger has the authentication “None”, and none of the next two nodes checks a
    signature or compares a header. A path of at least 20 random characters, which n8n makes by default,
    is hard to guess and only noted.
    """

    id, severity = "webhook-no-auth", Severity.CRITICAL
    fixes = {
        "n8n": "Open the trigger → Authentication → “Header Auth” (a form: “Basic Auth”) and choose or"
        " create a credential; senders that sign are checked by a Crypto node (Hmac) and an IF behind it.",
        "": "Demand a token or check the sender's signature before anything else happens.",
    }

    def check(self, subject: Subject) -> Iterator[Violation]:
        """Look at the triggers' authentication and at what follows them."""
        graph = subject.graph
        unlocked = [node for node in graph.triggers if _is_open(node)]
        checked = _checked(graph) if unlocked else set()
        for node in unlocked:
            if node.key not in checked:
                yield self._violation(subject, node)

    def _violation(self, subject: Subject, node: Node) -> Violation:
        what = "form" if node.trigger is TriggerKind.FORM else "webhook"
        if _is_secret_path(node):
            message = (
                f"The {what} “{node.name}” is open to everybody who learns its random address."
            )
            return self.violation(subject, message, node, severity=Severity.INFO)
        path = _path(node)
        at = f" at “{path}”" if path else ""
        message = f"The {what} “{node.name}” can be called by anybody{at}."
        return self.violation(subject, message, node)


def _is_open(trigger: Node) -> bool:
    is_called = trigger.trigger in (TriggerKind.WEBHOOK, TriggerKind.FORM)
    return is_called and trigger.parameters.get("authentication", "none") in ("none", "", None)


def _checked(graph: Graph) -> set[str]:
    """Keys of the nodes of which one of the next two checks who calls."""
    leading = {node.key for node in graph.by_key.values() if _checks(node)}
    found: set[str] = set()
    for _ in range(_STEPS_TO_CHECK):
        leading = graph.leading_to(leading)
        found |= leading
    return found


def _checks(node: Node) -> bool:
    if not node.is_live:
        return False
    if node.type.endswith(".crypto"):
        return node.parameters.get("action") == "hmac"
    if node.type.endswith(".jwt"):
        return True
    return node.kind in _CHECKING_KINDS and _NAMES_HEADER.search(str(node.parameters)) is not None


def _path(node: Node) -> str:
    """The trigger's path as it was chosen, "" where n8n made one."""
    options: Any = node.parameters.get("options")
    path = node.parameters.get("path")
    if not path and isinstance(options, Mapping):
        path = options.get("path")
    return path if isinstance(path, str) else ""


def _is_secret_path(node: Node) -> bool:
    """Whether the path can't be guessed; without one, n8n takes a random id."""
    path = _path(node)
    if not path:
        return node.type.startswith("n8n-nodes-base.")
    return any(_looks_random(part) for part in _PATH_PART.findall(path))


def _looks_random(part: str) -> bool:
    letters = part.replace("-", "").replace("_", "")
    if _HEX.fullmatch(part):
        return True
    has_all = (
        re.search(r"\d", letters) and re.search(r"[a-z]", letters) and re.search(r"[A-Z]", letters)
    )
    return bool(has_all) and len(letters) >= 20
