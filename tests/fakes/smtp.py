"""A mail server that listens on this machine and keeps what it is given."""

from __future__ import annotations

import email
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from functools import partial
from typing import Any, Literal

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.config.trees import free_port

Security = Literal["plain", "starttls", "tls"]
USER, PASSWORD = "flowwatch", "the mail server's secret"
HOST = "localhost"
SECONDS = 60.0


@dataclass
class Mailbox:
    """What arrived, how, and who signed in."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)
    sign_ins: list[tuple[str, bool]] = field(default_factory=list)
    """Passwords, and whether TLS hid them."""
    refusal: str = ""

    def wait_for_mail(self) -> EmailMessage:
        """The next mail that nobody has taken yet."""
        end = time.monotonic() + SECONDS
        while not self.mails:
            assert time.monotonic() < end, "no mail arrived"
            time.sleep(0.01)
        return self.mails.pop(0)

    # aiosmtpd finds these two by their names.
    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, to: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(to)
        return self.refusal or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        message = email.message_from_bytes(content, policy=default)
        assert isinstance(message, EmailMessage)
        self.over_tls.append(_is_hidden(server))
        self.mails.append(message)
        return "250 kept"

    def check(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        """Let the one user in."""
        assert isinstance(data, LoginPassword)
        self.sign_ins.append((data.password.decode(), _is_hidden(server)))
        return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()))


def _is_hidden(server: SMTP) -> bool:
    assert server.transport is not None
    return server.transport.get_extra_info("ssl_object") is not None


@contextmanager
def smtp_server(authority: trustme.CA, security: Security = "plain") -> Iterator[Mailbox]:
    """A server that speaks TLS at once, when it is asked to, or never."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    mailbox = Mailbox(free_port())
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=mailbox.port,
        ssl_context=context if security == "tls" else None,
        tls_context=context if security == "starttls" else None,
        authenticator=mailbox.check,
        ready_timeout=SECONDS,
        auth_require_tls=False,  # whether it is hidden is what tests ask
    )
    if security == "tls":  # its own probe at the start would have to trust the certificate
        controller._trigger_server = partial(_knock, mailbox.port)  # type: ignore[method-assign]
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


def _knock(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), SECONDS):
        pass


@contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])
