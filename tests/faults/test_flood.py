"""The load of the trials of overload hears what a server says, and so do its counts."""

from __future__ import annotations

import itertools
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.crowds import posts
from tests.faults.flood import Flood, flood

OK = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
SILENT = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
CUT = b""
REQUEST = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 0\r\n\r\n"


class Server(socketserver.ThreadingTCPServer):
    """Says these answers in turn, whoever asks; `pause` before each."""

    daemon_threads = True
    answers: Iterator[bytes] = itertools.cycle([OK, BUSY, SILENT, CUT])
    pause = 0.0


class Answering(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        while self.request.recv(65_536):
            time.sleep(self.server.pause)
            answer = next(self.server.answers)
            self.request.sendall(answer)
            if answer in (SILENT, CUT):
                return


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answering) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def heard(server: Server, *, rate: float, seconds: float, connections: int) -> Flood:
    port = server.server_address[1]
    requests = itertools.repeat(REQUEST)
    return flood(port, requests, rate=rate, seconds=seconds, connections=connections)


def test_each_answer_is_counted_and_closed_connections_are_opened_again(server: Server) -> None:
    seen = heard(server, rate=200, seconds=0.4, connections=1)
    assert seen.statuses == {201: 20, 503: 40, 0: 20}
    assert len(seen.without_retry_after) == 20


def test_a_latency_counts_from_when_a_request_was_to_be_sent(server: Server) -> None:
    server.answers, server.pause = itertools.repeat(OK), 0.05
    seen = heard(server, rate=100, seconds=0.4, connections=1)
    assert seen.statuses == {201: 40}
    assert seen.slowest(100) > 1.0, "the last one waited for all others"
    assert seen.goodput == pytest.approx(20, rel=0.3)


def test_all_posts_are_of_other_executions() -> None:
    made = list(itertools.islice(posts("fw_token"), 5_000))
    assert len(set(made)) == 5_000
    assert len({len(request) for request in made[::2_000]}) == 1
