"""A server to send to that keeps what it got and answers as a test wants."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclasses.dataclass
class Call:
    """One request that was received whole."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.split(b"\n") if line]


Reply = Callable[["Call", "Handler"], None]
"""Answers a call, as it likes."""


class Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        call = Call(self.command, self.path, dict(self.headers), body, time.monotonic())
        self.server.calls.append(call)
        with contextlib.suppress(OSError):
            self.server.reply(call, self)

    do_GET = do_POST  # noqa: N815

    def answer(
        self,
        status: int,
        body: Any = b"",
        headers: dict[str, str] | None = None,
        *,
        length: int | None = None,
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Tests say what matters."""


def results_for(lines: list[dict[str, Any]], result: str = "created", **more: Any) -> Any:
    """The answer to a batch as Flowwatch gives it."""
    return {
        "summary": {},
        "results": [
            {
                "line": number,
                "result": result,
                "id": None,
                "external_id": line["id"],
                "reason": None,
                **more,
            }
            for number, line in enumerate(lines, 1)
        ],
    }


def take_all(call: Call, handler: Handler) -> None:
    """Store every line, as far as the sender can tell."""
    if call.path == "/api/executions/batch":
        handler.answer(200, results_for(call.lines))
    else:
        handler.answer(200, {"capabilities": ["ingest.heartbeat"]})


class Receiver(ThreadingHTTPServer):
    """Answers with `reply`, which may be changed at any time."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self, reply: Reply = take_all) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply = reply
        self.calls: list[Call] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def batches(self) -> list[Call]:
        return [call for call in self.calls if call.path == "/api/executions/batch"]

    def lines(self) -> list[dict[str, Any]]:
        return [line for call in self.batches() for line in call.lines]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error here."""


@contextlib.contextmanager
def receiving(
    reply: Reply = take_all, *, socket_wrapper: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """`socket_wrapper`: it speaks TLS."""
    with Receiver(reply) as receiver:
        if socket_wrapper is not None:
            receiver.socket = socket_wrapper.wrap_socket(receiver.socket, server_side=True)
        thread = threading.Thread(
            target=receiver.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()
