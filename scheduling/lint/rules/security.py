"""What an attacker would like."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from monitoring.definition_secrets import DOUBTFUL, MARK
from monitoring.graph import Node
from monitoring.words import Severity
from scheduling.lint.base import NodeRule, Rule, Subject, Violation, register, texts_in

_WORDS: Final = {
    "aws-key": "an AWS key",
    "bearer": "a bearer token",
    "github-token": "a GitHub token",
    "google-key": "a Google API key",
    "jwt": "a JSON web token",
    "openai-key": "an OpenAI key",
    "password": "a password",
    "private-key": "a private key",
    "secret": "a secret",
    "sendgrid-key": "a SendGrid key",
    "slack-token": "a Slack token",
    "stripe-key": "a Stripe key",
    "url-password": "an address with its password",
}


@register
class SecretInPlainText(Rule):
    """A key, token or password stands in the workflow itself.

    Everybody who may read or export the workflow can use it, and every copy keeps it. Flowwatch stores
    and shows only a mark. Expressions, references to credentials, placeholders and the sample keys of
    public documentation are fine.
    """

    id, severity = "secret-in-plain-text", Severity.CRITICAL
    fixes = {
        "n8n": "Create a credential (Overview → Credentials → Create), choose it in the node under"
        " Authentication, empty the field, and change the secret at its provider: it has been seen.",
        "": "Keep the secret in a store for secrets, and change it at its provider: it has been seen.",
    }

    def check(self, subject: Subject) -> Iterator[Violation]:
        """Look for the scrubber's marks in parameters and pinned items."""
        pinned = dict(subject.graph.pinned)
        for number, node in enumerate(subject.graph.nodes):
            if node.is_live:
                # Of nodes that share a name, the first one holds what is pinned to it.
                items = texts_in(pinned.pop(node.key, None), "pinned data")
                yield from self._check_texts(subject, node, [*subject.strings[number], *items])

    def _check_texts(
        self, subject: Subject, node: Node, texts: Iterable[tuple[str, str]]
    ) -> Iterator[Violation]:
        seen: set[str] = set()
        for field, text in texts:
            for match in MARK.finditer(text) if "[scrubbed:" in text else ():
                mark, kind = match.group(), match.group(1)
                if kind not in DOUBTFUL and mark not in seen:
                    seen.add(mark)
                    what = _WORDS.get(kind, f"a {kind.replace('-', ' ')}")
                    message = f"“{node.name}” holds {what} in plain text, in its field “{field}”."
                    yield self.violation(subject, message, node, detail=mark, evidence=mark)


_SWITCHES: Final = frozenset({"allowUnauthorizedCerts", "ignoreSSLIssues", "ignoreSslIssues"})
_IN_CODE: Final = re.compile(
    r"rejectUnauthorized[\"']?\s*:\s*false|NODE_TLS_REJECT_UNAUTHORIZED[\"']?\]?\s*=\s*[\"']?0"
    r"|\bverify\s*=\s*False\b"
)
_HOST: Final = re.compile(r"^=?\s*[a-z][a-z0-9+.-]*://([^/?#{}\s]+)", re.IGNORECASE)


@register
class TlsCheckOff(NodeRule):
    """The node accepts any certificate, so anybody on the way can read and change what it sends.

    A warning when it calls a private address, where certificates of one's own are common.
    """

    id, severity = "tls-check-off", Severity.CRITICAL
    fixes = {
        "n8n": "Open the node → Options → switch off “Ignore SSL Issues (Insecure)”; a certificate of"
        " one's own is made known to n8n by NODE_EXTRA_CA_CERTS.",
        "": "Check certificates; make one of your own known to the client instead.",
    }

    def check_node(self, number: int, node: Node, subject: Subject) -> Iterator[Violation]:
        """Look for the switch in parameters, and for its like in code."""
        if not _is_switched_off(node.parameters) and not any(
            _IN_CODE.search(text) for _, text in subject.strings[number]
        ):
            return
        host = _host(node.parameters.get("url"))
        is_private = host is not None and _is_private(host)
        to = f" to {host}" if host else ""
        yield self.violation(
            subject,
            f"“{node.name}” accepts any certificate on its way{to}.",
            node,
            severity=Severity.WARNING if is_private else None,
        )


def _is_switched_off(value: Any) -> bool:
    if isinstance(value, dict):
        return any(
            (key in _SWITCHES and each is True) or _is_switched_off(each)
            for key, each in value.items()
        )
    return isinstance(value, list) and any(map(_is_switched_off, value))


def _host(url: Any) -> str | None:
    """The host of an address, None where an expression decides it."""
    match = _HOST.match(url) if isinstance(url, str) else None
    if match is None:
        return None
    try:
        return urlsplit(f"//{match.group(1)}").hostname
    except ValueError:
        return None


def _is_private(host: str) -> bool:
    """Whether a host is on one's own network: no dot, a private suffix or a private address."""
    if "." not in host and ":" not in host:
        return True
    if host.endswith((".local", ".internal", ".lan", ".localhost", ".home.arpa", ".test")):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False
