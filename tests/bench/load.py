"""Loads from kept connections: each sends its next request after its answer, or all at a given rate.

One thread and `selectors`, so that the generator takes as little as it can of the machine that it
shares with the server.
"""

from __future__ import annotations

import dataclasses
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator


@dataclasses.dataclass
class Report:
    """What a load measured; latencies in seconds, in the order of the answers.

    `answers` are the numbers of the requests with the times (`time.perf_counter`) of their answers;
    `refused_at` the times of those that are not 2xx.
    """

    seconds: float
    latencies: list[float]
    statuses: dict[int, int]
    body_bytes: int
    answers: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    refused_at: list[float] = dataclasses.field(default_factory=list)

    @classmethod
    def empty(cls) -> Report:
        """Nothing measured yet."""
        return cls(0.0, [], {}, 0)

    def add(self, other: Report) -> None:
        """Take in what another load measured; its answers' numbers say nothing here."""
        self.seconds += other.seconds
        self.latencies += other.latencies
        self.body_bytes += other.body_bytes
        for status, count in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count

    def count(self, answer: tuple[int, int], latency: float) -> None:
        """Take in an answer's status and size."""
        status, size = answer
        self.latencies.append(latency)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.body_bytes += size

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Latency in milliseconds."""
        ordered = sorted(self.latencies)
        return 1_000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]

    @property
    def errors(self) -> int:
        """Answers that are not 2xx."""
        return sum(count for status, count in self.statuses.items() if not 200 <= status < 300)


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_at = 0.0
        self.number = 0
        self.buffer = b""
        self.needed = -1

    def send(self, request: bytes) -> None:
        self.buffer, self.needed = b"", -1
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, int] | None:
        """Status and body size once the answer is whole."""
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionError("the server closed a kept connection")
        self.buffer += data
        if self.needed < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = self.buffer[:end].lower()
            place = head.find(b"content-length:")
            length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            if place < 0 and b"transfer-encoding: chunked" in head:
                return self._chunked()
            self.needed = end + 4 + length
        if len(self.buffer) < self.needed:
            return None
        return int(self.buffer[9:12]), self.needed

    def _chunked(self) -> tuple[int, int] | None:
        return (
            (int(self.buffer[9:12]), len(self.buffer))
            if self.buffer.endswith(b"0\r\n\r\n")
            else None
        )


def run(
    port: int, requests: Callable[[], bytes] | Iterator[bytes], *, connections: int, seconds: float
) -> Report:
    """Keep `connections` busy for `seconds`; `requests` gives the next request's bytes."""
    following = requests if callable(requests) else requests.__next__
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        connection = _Connection(port)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send(following())
    report = Report.empty()
    begun = time.perf_counter()
    end = begun + seconds
    open_connections = connections
    while open_connections:
        for key, _ in selector.select(timeout=30):
            connection = key.data
            answer = connection.receive()
            if answer is None:
                continue
            now = time.perf_counter()
            report.count(answer, now - connection.sent_at)
            if now < end:
                connection.send(following())
            else:
                selector.unregister(connection.socket)
                connection.socket.close()
                open_connections -= 1
    report.seconds = time.perf_counter() - begun
    return report


def run_at(port: int, requests: Iterator[bytes], *, connections: int, rate: float) -> Report:
    """Send `requests`, so many a second whatever the answers take, until there are no more.

    A latency begins when its request was to be sent, so that it holds the wait for a free connection.
    """
    selector = selectors.DefaultSelector()
    free = deque(_Connection(port) for _ in range(connections))
    for connection in free:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    report = Report.empty()
    number, following = 0, next(requests, None)
    begun = time.perf_counter()
    while following is not None or len(free) < connections:
        early = begun + number / rate - time.perf_counter()
        if following is not None and free and early <= 0:
            connection = free.popleft()
            connection.send(following)
            connection.number, connection.sent_at = number, begun + number / rate
            number, following = number + 1, next(requests, None)
            continue
        is_next = following is not None and bool(free)
        for key, _ in selector.select(timeout=early if is_next else 30):
            connection = key.data
            answer = connection.receive()
            if answer is not None:
                now = time.perf_counter()
                report.count(answer, now - connection.sent_at)
                report.answers.append((connection.number, now))
                if not 200 <= answer[0] < 300:
                    report.refused_at.append(now)
                free.append(connection)
    report.seconds = time.perf_counter() - begun
    for connection in free:
        connection.socket.close()
    return report


def request(
    method: str, path: str, *, headers: dict[str, str] | None = None, body: bytes = b""
) -> bytes:
    """The bytes of an HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
