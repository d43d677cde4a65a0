"""Sending mail as requirement 001 describes the ports."""

import smtplib
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from django.core.mail.backends.smtp import EmailBackend


def tls_of(port: int) -> tuple[bool, bool]:
    """Whether a port speaks TLS from the first byte, and whether STARTTLS is a must."""
    return port == 465, port == 587


class SmtpBackend(EmailBackend):
    """587 insists on STARTTLS, 465 on TLS; on other ports STARTTLS is used when it is offered.

    `cut` ends a conversation from another thread: time-outs begin anew with each byte of the server.
    """

    is_cut = False
    _conversation: smtplib.SMTP | None = None

    @property
    def connection_class(self) -> Callable[..., smtplib.SMTP]:  # type: ignore[override]
        """Makes a connection that `cut` knows before the server's first word."""
        return partial(_TlsConversation if self.use_ssl else _Conversation, self)

    def cut(self) -> None:
        """End whatever is going on; nothing is sent afterwards."""
        self.is_cut = True
        connected = self._conversation.sock if self._conversation else None
        if connected is not None:
            with suppress(OSError):  # it may be closed already
                # The plain socket's: a TLS socket would first say good-bye.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    def open(self) -> bool | None:
        """Connect; before signing in, move to TLS when the server can."""
        if self.connection or self.use_tls or self.use_ssl:
            return super().open()
        username, self.username = self.username, ""
        try:
            opened = super().open()
        finally:
            self.username = username
        connection = self.connection
        if not opened or connection is None:
            return opened
        try:
            connection.ehlo()
            if connection.has_extn("starttls"):
                connection.starttls(context=self.ssl_context)
                connection.ehlo()
            if username and self.password:
                connection.login(username, self.password)
        except OSError:  # those of smtplib and ssl are such; a next try begins anew
            connection.close()
            self.connection = None
            raise
        return True


class _Conversation(smtplib.SMTP):
    """Tells its backend of itself before it connects."""

    sock: socket.socket | None

    def __init__(self, backend: SmtpBackend, *arguments: Any, **named: Any) -> None:
        self._backend = backend
        backend._conversation = self
        super().__init__(*arguments, **named)

    def getreply(self) -> tuple[int, bytes]:
        """What the server says; refuses to wait for it after the cut, which may have come too early."""
        if self._backend.is_cut:
            self.close()
            raise TimeoutError("The mail server took too long.")
        return super().getreply()


class _TlsConversation(_Conversation, smtplib.SMTP_SSL):
    """The same, hidden from the first byte."""
