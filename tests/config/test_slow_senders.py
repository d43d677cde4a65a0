"""Slow request bodies on the real server: all cut in time, and nobody else notices."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median

import httpx
import pytest

from tests.config.servers import WebServer
from tests.config.slow_senders import HEAD, SENDERS, SLACK, attack, most

pytestmark = [
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
]

IDLE, TOTAL = 1.0, 6.0
HEAD_SECONDS = 10.0
LATE = 5.0
"""How much later than its limit a cut may reach a sender on a machine busy with other tests."""


@pytest.fixture
def server() -> Iterator[WebServer]:
    """The web server with short deadlines and few threads."""
    with WebServer(
        SLOW_BODY_IDLE_SECONDS=str(IDLE), SLOW_BODY_TOTAL_SECONDS=str(TOTAL), WEB_THREADS="4"
    ) as server:
        yield server


def test_two_hundred_slow_senders_are_cut_and_others_are_served(server: WebServer) -> None:
    """In `make faults` the same at the limits of real life."""
    seen = attack(server, pause=IDLE / 4, longest=TOTAL)
    assert [len(seen.stopped), len(seen.dripping)] == [SENDERS / 2, SENDERS / 2]
    assert median(seen.health_seconds) < 1
    stopped = [cut.seconds for cut in seen.stopped]
    dripping = [cut.seconds for cut in seen.dripping]
    assert median(stopped) < TOTAL  # not by the deadline of the steady ones
    assert most(stopped) < IDLE + LATE
    assert most(dripping) < TOTAL + LATE
    assert max(stopped + dripping) < TOTAL + SLACK
    assert min(dripping) > IDLE  # a steady one has the whole time
    answers = [cut.answer for cut in seen.stopped + seen.dripping]
    assert {answer[:12] for answer in answers} <= {b"HTTP/1.1 408", b""}
    assert b"application/problem+json" in next(filter(None, answers))


def test_who_says_nothing_or_half_is_let_go(server: WebServer) -> None:
    beginnings = (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nHost:")
    with ExitStack() as opened:
        connections = [
            opened.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            for _ in beginnings
        ]
        for connection, said in zip(connections, beginnings, strict=True):
            connection.sendall(said)
            connection.settimeout(HEAD_SECONDS + LATE)
        for connection in connections:
            while connection.recv(4096):
                pass  # whatever it is told before it is let go


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
