"""So many requests a second, whatever becomes of them: what a server under too much load hears.

One thread and `selectors`, as the load shares the machine with the server. A request whose time has
come takes a free connection, or waits for one: its latency counts from when it was to be sent.
"""

from __future__ import annotations

import math
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

STORED = frozenset({200, 201})


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer: status (0: the connection broke), seconds it took, when, its Retry-After."""

    status: int
    seconds: float
    at: float
    retry_after: float | None = None


@dataclass(slots=True)
class Flood:
    """All answers of a load, in the order in which they came."""

    answers: list[Heard] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def statuses(self) -> Counter[int]:
        """How many answers had each status."""
        return Counter(heard.status for heard in self.answers)

    @property
    def goodput(self) -> float:
        """Executions a second that were acknowledged."""
        return sum(self.statuses[status] for status in STORED) / self.seconds

    def slowest(self, percent: float, statuses: frozenset[int] = STORED) -> float:
        """The seconds that `percent` of the answers of these statuses took at most."""
        return percentile(
            [heard.seconds for heard in self.answers if heard.status in statuses], percent
        )

    @property
    def without_retry_after(self) -> list[Heard]:
        """Refusals that do not say when to come again."""
        return [
            heard
            for heard in self.answers
            if heard.status in (429, 503) and (heard.retry_after is None or heard.retry_after < 1)
        ]


def percentile(values: Iterable[float], percent: float) -> float:
    """The value that `percent` of the values are at most; NaN of none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class _Connection:
    """Sends one request at a time; opened again when the server closed it."""

    def __init__(self, port: int, selector: selectors.BaseSelector) -> None:
        self._port, self._selector = port, selector
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._due = 0.0

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was to be sent at `due`."""
        self._due, self._buffer = due, b""
        if self._socket is None:
            self._open()
        assert self._socket is not None
        try:
            self._socket.sendall(request)
        except OSError:  # closed while it was idle: nothing of the request was read
            self.close()
            self._open()
            self._socket.sendall(request)

    def heard(self) -> Heard | None:
        """The answer once it is whole."""
        assert self._socket is not None
        try:
            data = self._socket.recv(262_144)
        except OSError:
            data = b""
        if not data:
            self.close()
            return self._answer(0) if self._due else None
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(_header(head, b"content-length") or 0):
            return None
        if _header(head, b"connection") == b"close":
            self.close()
        retry_after = _header(head, b"retry-after")
        return self._answer(int(head[9:12]), float(retry_after) if retry_after else None)

    def close(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    def _open(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(self._socket, selectors.EVENT_READ, self)

    def _answer(self, status: int, retry_after: float | None = None) -> Heard:
        now = time.perf_counter()
        due, self._due = self._due, 0.0
        return Heard(status, now - due, now, retry_after)


def _header(head: bytes, name: bytes) -> bytes | None:
    place = head.find(b"\r\n" + name + b": ")
    return head[place + len(name) + 4 :].split(b"\r\n", 1)[0] if place >= 0 else None


def flood(
    port: int, requests: Iterator[bytes], *, rate: float, seconds: float, connections: int
) -> Flood:
    """Send `rate` requests a second for `seconds`, over so many connections at most."""
    selector = selectors.DefaultSelector()
    free = deque(_Connection(port, selector) for _ in range(connections))
    all_of_them = list(free)
    seen = Flood()
    sent, number = 0, int(rate * seconds)
    begun = time.perf_counter()
    while sent < number or len(free) < connections:
        due = begun + sent / rate
        early = due - time.perf_counter()
        if sent < number and free and early <= 0:
            free.popleft().send(next(requests), due)
            sent += 1
            if sent % 16:
                continue  # answers wait for at most so many requests
        timeout = max(0.0, early) if sent < number and free else 30.0
        for key, _ in selector.select(timeout):
            connection: _Connection = key.data
            heard = connection.heard()
            if heard is not None:
                seen.answers.append(heard)
                free.append(connection)
    seen.seconds = time.perf_counter() - begun
    for connection in all_of_them:
        connection.close()
    return seen
