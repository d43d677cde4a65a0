"""One request to the server: bounded in time and size, whatever stands at the other end.

No redirects (they would carry the token elsewhere), certificates are verified, proxies are those of
the environment (HTTPS_PROXY, NO_PROXY).
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import http.client
import io
import os
import socket
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

CONNECT_SECONDS = 5.0
"""For each address of the host."""
SILENCE_SECONDS = 15.0
"""How long no byte may come or go."""
TOTAL_SECONDS = 60.0
MOST_ANSWER_BYTES = 2 * 1024 * 1024
_PIECE = 64 * 1024
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class Unanswered(Exception):
    """There was no whole answer; the text says why."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """A whole answer; `headers` in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclasses.dataclass(frozen=True)
class Server:
    """Where to send to, and as whom."""

    url: str
    token: str = dataclasses.field(repr=False)
    agent: str = "flowwatch-client"

    def get(self, path: str) -> Answer:
        """Raises Unanswered."""
        return self._ask("GET", path, None, {})

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Raises Unanswered."""
        return self._ask("POST", path, body, headers)

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        try:
            target = urllib.parse.urlsplit(f"{self.url}{path}")
            connection, address = _connection(target)
        except (ValueError, http.client.InvalidURL) as error:  # a port that is none, and such
            raise Unanswered(f"{self.url} is no address: {error}") from None
        sent = {
            "Authorization": f"Bearer {self.token}",
            "User-Agent": self.agent,
            "Accept": "application/json",
            "Connection": "close",
            **headers,
        }
        try:
            connection.request(method, address, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, _lower(answer.headers), _bounded(answer))
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, ssl.SSLCertVerificationError):
                _trusting.cache_clear()  # what is trusted may be renewed while this process runs
            raise Unanswered(_reason(error)) from None
        finally:
            connection.end()


def _lower(headers: http.client.HTTPMessage) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _bounded(answer: http.client.HTTPResponse) -> bytes:
    body = answer.read(MOST_ANSWER_BYTES + 1)
    if len(body) > MOST_ANSWER_BYTES:
        raise http.client.HTTPException("the answer is longer than any of Flowwatch's")
    if answer.length:  # read(n) does not complain itself
        raise http.client.IncompleteRead(body, answer.length)
    return body


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(error, ValueError):  # its own text could hold the token
        return "the address or the token has characters that no request may have"
    return f"{type(error).__name__}: {error}"[:300]


# --- connections whose every wait is bounded by one deadline ------------------------------------------


class _Timed:
    """What http.client needs of a socket; each wait ends at the silence or at the deadline."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._socket = connected
        self._deadline = deadline

    def arm(self) -> socket.socket:
        """The socket, ready for one wait. Raises TimeoutError."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(min(left, SILENCE_SECONDS))
        return self._socket

    def sendall(self, data: Any) -> None:
        with memoryview(data).cast("B") as view:
            sent = 0
            while sent < len(view):
                sent += self.arm().send(view[sent : sent + _PIECE])

    def setsockopt(self, *arguments: Any) -> None:
        self._socket.setsockopt(*arguments)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self))

    def close(self) -> None:
        """Nothing: http.client closes its socket while the answer's body is still to be read."""

    def end(self) -> None:
        self._socket.close()


class _Incoming(io.RawIOBase):
    def __init__(self, timed: _Timed) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._timed.arm().recv_into(buffer)


class _Connection(http.client.HTTPConnection):
    """`context`: with TLS, through the proxy's tunnel when there is one."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=CONNECT_SECONDS)
        self._context = context
        self._server_name = host
        self._deadline = time.monotonic() + TOTAL_SECONDS
        self._timed: _Timed | None = None
        self._create_connection = self._timed_connection

    def tunnel_to(self, host: str, port: int, headers: Mapping[str, str]) -> None:
        self._server_name = host
        self.set_tunnel(host, port, dict(headers))

    def connect(self) -> None:
        super().connect()
        if self._context is not None and self._timed is not None:
            secure = self._context.wrap_socket(self._timed.arm(), server_hostname=self._server_name)
            self._timed = self.sock = _Timed(secure, self._deadline)

    def _timed_connection(self, *arguments: Any) -> _Timed:
        """What http.client calls to connect; it reads the answer about the tunnel by this at once."""
        self._timed = _Timed(socket.create_connection(*arguments), self._deadline)
        return self._timed

    def end(self) -> None:
        """Close it for good."""
        self.close()
        if self._timed is not None:
            self._timed.end()


def _connection(target: urllib.parse.SplitResult) -> tuple[_Connection, str]:
    """A connection, not opened yet, and the address to ask for on it. Raises ValueError."""
    host = target.hostname
    if not host:
        raise ValueError("it names no host")
    secure = target.scheme == "https"
    port = target.port or (443 if secure else 80)
    context = _trusting(os.getpid(), *map(os.environ.get, _CERTIFICATES)) if secure else None
    proxy = _proxy(target.scheme, host, port)
    if proxy is None:
        return _Connection(host, port, context), target.path or "/"
    if not proxy.hostname:
        raise ValueError("the proxy names no host")
    connection = _Connection(proxy.hostname, proxy.port or 3128, context)
    if secure:
        connection.tunnel_to(host, port, _proxy_headers(proxy))
        return connection, target.path or "/"
    return connection, target.geturl()


@functools.lru_cache(maxsize=1)
def _trusting(process: int, file: str | None, folder: str | None) -> ssl.SSLContext:
    """What the machine trusts, or the files of the environment: reading that takes long.

    A forked child reads it again, as a thread of the parent may have held OpenSSL's locks.
    """
    return ssl.create_default_context()


def _proxy(scheme: str, host: str, port: int) -> urllib.parse.SplitResult | None:
    proxy = urllib.request.getproxies().get(scheme)
    if not proxy or urllib.request.proxy_bypass(f"{host}:{port}"):
        return None
    return urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def _proxy_headers(proxy: urllib.parse.SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    user = urllib.parse.unquote(f"{proxy.username}:{proxy.password or ''}")
    return {"Proxy-Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
