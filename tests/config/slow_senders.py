"""Two hundred slow senders at once, and how others are served meanwhile."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import httpx

SENDERS = 200
SLACK = 30.0
"""How long we wait beyond the limits: a machine may be busy with other tests."""

HEAD = (
    b"POST /api/executions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{"
)


class Server(Protocol):
    """What is attacked."""

    port: int

    @property
    def url(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Cut:
    """How the server ended one sender."""

    seconds: float
    answer: bytes


@dataclass(slots=True)
class Attack:
    """What happened: to those that stopped, to those that dripped, and to whoever asked meanwhile."""

    stopped: list[Cut] = field(default_factory=list)
    dripping: list[Cut] = field(default_factory=list)
    health_seconds: list[float] = field(default_factory=list)


def attack(server: Server, *, pause: float, longest: float) -> Attack:
    """Half send a byte each ``pause`` seconds, half stop; the server has ``longest`` to cut them."""
    seen = Attack()
    threads = [
        threading.Thread(target=_send, args=(server.port, each, longest + SLACK, cuts))
        for each, cuts in [(pause, seen.dripping), (None, seen.stopped)] * (SENDERS // 2)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        asked = time.monotonic()
        assert httpx.get(f"{server.url}/health/live", timeout=SLACK).status_code == 200
        seen.health_seconds.append(time.monotonic() - asked)
        time.sleep(0.2)
    return seen


def most(values: Iterable[float]) -> float:
    """What 95 % of the values are at most."""
    ordered = sorted(values)
    return ordered[math.ceil(0.95 * len(ordered)) - 1]


def _send(port: int, pause: float | None, patience: float, cuts: list[Cut]) -> None:
    """Send a byte each ``pause`` seconds (None: none at all) until the server ends it."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEAD)
        started = time.monotonic()
        connection.settimeout(pause or patience)
        answer = b""
        while time.monotonic() - started < patience:
            try:
                answer = connection.recv(4096)
                break
            except TimeoutError:
                connection.sendall(b" ")
            except ConnectionError:
                break
        cuts.append(Cut(time.monotonic() - started, answer))
