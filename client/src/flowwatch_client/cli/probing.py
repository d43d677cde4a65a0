"""Asks a server step by step, so that it is clear at which one it fails: name, connection, TLS, HTTP."""

from __future__ import annotations

import dataclasses
import email.utils
import json
import socket
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from flowwatch_client.cli.checks import Check, State
from flowwatch_client.delivery.http import CONNECT_SECONDS, Answer, Server, Unanswered
from flowwatch_client.version import AGENT

_CLOCK_SECONDS = 30.0
_CLOCK_REFUSED_SECONDS = 86_400.0
_CERTIFICATE_DAYS = 14
_NEEDED = ("ingest.batch", "encoding.gzip")


def probe(url: str, token: str) -> Iterator[Check]:
    """Checks in their order; those that depend on one that failed are left out."""
    target = urllib.parse.urlsplit(url)
    try:
        port = target.port or (443 if target.scheme == "https" else 80)
    except ValueError as error:
        yield Check("address", State.FAIL, f"{url}: {error}", "Mend FLOWWATCH_URL.")
        return
    host = target.hostname or ""
    proxy = urllib.request.getproxies().get(target.scheme)
    if proxy and not urllib.request.proxy_bypass(f"{host}:{port}"):
        yield Check("proxy", State.OK, f"through {_without_user(proxy)}, as the environment says")
    else:
        for check in _reach(host, port, secure=target.scheme == "https"):
            yield check
            if check.state is State.FAIL:
                return
    yield from _ask(Server(url, token, AGENT))


def _without_user(proxy: str) -> str:
    """The proxy's address without its password."""
    return proxy.rpartition("@")[2]


def _reach(host: str, port: int, *, secure: bool) -> Iterator[Check]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        yield Check(
            "name",
            State.FAIL,
            f"{host} is not known: {error}",
            "Is FLOWWATCH_URL spelled right, and does this machine resolve names?",
        )
        return
    addresses = sorted({str(each[4][0]) for each in found})
    yield Check("name", State.OK, f"{host} is {', '.join(addresses)}")
    try:
        connected = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
    except OSError as error:
        yield Check(
            "connection",
            State.FAIL,
            f"port {port} of {host} can't be reached: {error}",
            "Does the server run, is the port right, is a firewall between?",
        )
        return
    with connected:
        yield Check("connection", State.OK, f"port {port} answers")
        if secure:
            yield _tls(connected, host)


def _tls(connected: socket.socket, host: str) -> Check:
    try:
        with ssl.create_default_context().wrap_socket(connected, server_hostname=host) as secured:
            certificate = secured.getpeercert() or {}
            version = secured.version()
    except ssl.SSLCertVerificationError as error:
        return Check(
            "TLS",
            State.FAIL,
            f"the certificate is not trusted: {error.verify_message}",
            "Is it of a public authority and not expired? One of your own: SSL_CERT_FILE names it.",
        )
    except OSError as error:
        return Check(
            "TLS", State.FAIL, f"{error}", "Does the server speak TLS there? Else http:// is right."
        )
    until = str(certificate.get("notAfter", ""))
    left = (ssl.cert_time_to_seconds(until) - time.time()) / 86_400 if until else 0.0
    if left < _CERTIFICATE_DAYS:
        return Check(
            "TLS", State.WARN, f"the certificate ends in {left:.0f} days", "Have it renewed."
        )
    return Check("TLS", State.OK, f"{version}, the certificate is good for {left:.0f} days")


# --- HTTP ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Told:
    """What GET /api/limits told."""

    answer: Answer
    limits: dict[str, Any]
    executions_per_minute: int | None
    capabilities: list[str]


def _ask(server: Server) -> Iterator[Check]:
    try:
        answer = server.get("/api/limits")
    except Unanswered as error:
        yield Check("HTTP", State.FAIL, str(error), "Is this the address of Flowwatch?")
        return
    told = _told(answer)
    if answer.status == 200 and told is not None:
        yield Check("HTTP", State.OK, "Flowwatch answers")
        yield Check("token", State.OK, "is valid")
        yield _ingest(server)
        yield _limits(told)
        yield _capabilities(told)
        yield _clock(answer)
    elif answer.status in (401, 403):
        yield Check("HTTP", State.OK, "the server answers")
        yield _refused(answer)
        yield _clock(answer)
    elif 300 <= answer.status < 400:
        to = answer.headers.get("location", "another place")
        yield Check(
            "HTTP",
            State.FAIL,
            f"it redirects to {to}, which is not followed: the token would go along",
            "Give FLOWWATCH_URL the address that it redirects to.",
        )
    else:
        yield Check(
            "HTTP",
            State.FAIL,
            f"/api/limits answers {answer.status}, and not as Flowwatch does",
            "Is this the address of Flowwatch, without a path?",
        )


def _told(answer: Answer) -> _Told | None:
    try:
        body = json.loads(answer.body)
        limits, capabilities = body["limits"], body["capabilities"]
        if isinstance(limits, dict) and isinstance(capabilities, list):
            return _Told(answer, limits, body.get("executions_per_minute"), capabilities)
    except (ValueError, KeyError, TypeError):
        pass
    return None


def _refused(answer: Answer) -> Check:
    if answer.status == 401:
        return Check(
            "token",
            State.FAIL,
            "is unknown, expired or revoked (401)",
            "Make another under Settings → Tokens, and put it into FLOWWATCH_TOKEN.",
        )
    return Check("token", State.FAIL, f"is refused (403): {_detail(answer)}", "Ask its owner.")


def _detail(answer: Answer) -> str:
    try:
        return str(json.loads(answer.body).get("detail", ""))[:200]
    except (ValueError, AttributeError):
        return ""


def _ingest(server: Server) -> Check:
    """An empty batch changes nothing, and is answered as a full one would be."""
    try:
        answer = server.post("/api/executions/batch", b"[]", {"Content-Type": "application/json"})
    except Unanswered as error:
        return Check("scope", State.WARN, f"no answer to an empty batch: {error}", "Try again.")
    if answer.status == 200:
        return Check("scope", State.OK, "may send executions (ingest)")
    if answer.status == 403:
        return Check(
            "scope",
            State.FAIL,
            f"may not send executions (403): {_detail(answer)}",
            "Make a token with the scope “ingest”.",
        )
    return Check(
        "scope",
        State.WARN,
        f"an empty batch is answered {answer.status}: {_detail(answer)}",
        "What waits is tried again by itself; look at the server when this stays.",
    )


def _limits(told: _Told) -> Check:
    batch = told.limits.get("batch_bytes"), told.limits.get("batch_lines")
    quota = told.executions_per_minute
    pace = "any number of executions" if quota is None else f"{quota} executions a minute"
    return Check("limits", State.OK, f"{pace}; a batch of {batch[0]} bytes, {batch[1]} lines")


def _capabilities(told: _Told) -> Check:
    missing = [each for each in _NEEDED if each not in told.capabilities]
    text = ", ".join(map(str, told.capabilities))
    if missing:
        return Check(
            "abilities", State.WARN, f"the server lacks {', '.join(missing)}: {text}", "Update it."
        )
    return Check("abilities", State.OK, text)


def _clock(answer: Answer) -> Check:
    try:
        server_time = email.utils.parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError):
        return Check("clock", State.OK, "the server does not tell its time")
    ahead = time.time() - server_time
    text = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server"
    if abs(ahead) < _CLOCK_SECONDS:
        return Check("clock", State.OK, text)
    refused = ahead > _CLOCK_REFUSED_SECONDS
    return Check(
        "clock",
        State.FAIL if refused else State.WARN,
        text + (", which refuses times more than a day ahead" if refused else ""),
        "Set this machine's clock (NTP); executions stand at wrong times.",
    )
