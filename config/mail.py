"""Sending mail as requirement 001 describes the ports."""

import smtplib
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO, Final

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


MOST_SAID: Final = 64 * 1024
"""Bytes that one reply of a mail server may have."""


class _Replies:
    """What a server says, for smtplib, which would keep lines of one reply without end."""

    def __init__(self, lines: BinaryIO) -> None:
        self._lines = lines
        self.left = MOST_SAID

    def readline(self, limit: int) -> bytes:
        line = self._lines.readline(limit)
        self.left -= len(line)
        if self.left < 0:
            raise OSError("The mail server said too much.")
        return line

    def close(self) -> None:
        self._lines.close()


class _Conversation(smtplib.SMTP):
    """Tells its backend of itself before it connects; reads replies of bounded length."""

    sock: socket.socket | None
    file: _Replies | None

    def __init__(self, backend: SmtpBackend, *arguments: Any, **named: Any) -> None:
        self._backend = backend
        backend._conversation = self
        super().__init__(*arguments, **named)

    def getreply(self) -> tuple[int, bytes]:
        """What the server says; refuses to wait for it after the cut, which may have come too early."""
        if self._backend.is_cut:
            self.close()
            raise TimeoutError("The mail server took too long.")
        if self.file is None and self.sock is not None:
            self.file = _Replies(self.sock.makefile("rb"))
        if self.file is not None:
            self.file.left = MOST_SAID
        return super().getreply()


class _TlsConversation(_Conversation, smtplib.SMTP_SSL):
    """The same, hidden from the first byte."""
