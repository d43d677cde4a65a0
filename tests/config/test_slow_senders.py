"""Slow request bodies on the real server: all cut in time, and nobody else notices."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import httpx
import pytest

from tests.config.servers import WebServer

pytestmark = [
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
]

SENDERS = 200
IDLE, TOTAL = 1.0, 6.0
SLACK = 30.0  # two cores may be busy with other tests
HEAD = (
    b"POST /api/executions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{"
)


@dataclass
class Cut:
    """How the server ended one sender."""

    seconds: float
    answer: bytes


@pytest.fixture
def server() -> Iterator[WebServer]:
    """The web server with short deadlines and few threads."""
    with WebServer(
        SLOW_BODY_IDLE_SECONDS=str(IDLE), SLOW_BODY_TOTAL_SECONDS=str(TOTAL), WEB_THREADS="4"
    ) as server:
        yield server


def drip(port: int, pause: float | None, cuts: list[Cut]) -> None:
    """Send a byte each ``pause`` seconds (None: none at all) until the server ends it."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEAD)
        started = time.monotonic()
        connection.settimeout(pause or TOTAL + SLACK)
        answer = b""
        while time.monotonic() - started < TOTAL + SLACK:
            try:
                answer = connection.recv(4096)
                break
            except TimeoutError:
                connection.sendall(b" ")
            except ConnectionError:
                break
        cuts.append(Cut(time.monotonic() - started, answer))


def test_two_hundred_slow_senders_are_cut_and_others_are_served(server: WebServer) -> None:
    stopped: list[Cut] = []
    dripping: list[Cut] = []
    threads = [
        threading.Thread(
            target=drip,
            args=(server.port, IDLE / 4 if n % 2 else None, dripping if n % 2 else stopped),
        )
        for n in range(SENDERS)
    ]
    for thread in threads:
        thread.start()
    slowest = 0.0
    while any(thread.is_alive() for thread in threads):
        asked = time.monotonic()
        assert httpx.get(f"{server.url}/health/live", timeout=SLACK).status_code == 200
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.2)
    assert slowest < TOTAL  # behind fifty slow ones per thread it were many times that
    assert [len(stopped), len(dripping)] == [SENDERS / 2, SENDERS / 2]
    assert median(cut.seconds for cut in stopped) < TOTAL  # not by the deadline of the steady ones
    assert max(cut.seconds for cut in stopped) < IDLE + SLACK
    assert max(cut.seconds for cut in dripping) < TOTAL + SLACK
    assert min(cut.seconds for cut in dripping) > IDLE  # a steady one has the whole time
    assert {cut.answer[:12] for cut in stopped + dripping} <= {b"HTTP/1.1 408", b""}
    told = next(cut.answer for cut in stopped if cut.answer)
    assert b"application/problem+json" in told


def test_a_body_in_many_pieces_arrives_whole(server: WebServer) -> None:
    pieces = [b'{"id": "x",', b' "workflowId": 1}', b"\n" * 700_000]

    def slowly() -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            time.sleep(IDLE / 4)

    answer = httpx.post(f"{server.url}/api/executions", content=slowly(), timeout=SLACK)
    assert answer.status_code == 401  # read to the end, then judged: nobody signed in


def test_a_body_that_announces_too_much_is_refused_at_once(server: WebServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(HEAD.replace(b"1000", str(10**10).encode()))
        connection.settimeout(SLACK)
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")
