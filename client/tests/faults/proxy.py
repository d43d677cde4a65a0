"""Stands between client and server and does what bad networks, proxies and servers do."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

Behaviour = Callable[["Exchange"], None]


class Gone(Exception):
    """The other end went away."""


class Exchange:
    """One connection of a client: what it asks, and ways to answer."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self.request = b""

    def receive(self, share: float = 1.0) -> None:
        """Read the request, or only this share of its body."""
        head, body = self._read_head()
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(body) < length * share:
            body += self._some()
        self.request = head + b"\r\n\r\n" + body
        if share == 1.0:
            self._proxy.received(head, body)

    def _read_head(self) -> tuple[bytes, bytes]:
        read = b""
        while b"\r\n\r\n" not in read:
            read += self._some()
        head, _, body = read.partition(b"\r\n\r\n")
        return head, body

    def _some(self) -> bytes:
        data = self._client.recv(65536)
        if not data:
            raise Gone
        return data

    def ask_server(self) -> bytes:
        """The server's whole answer."""
        with socket.create_connection(("127.0.0.1", self._proxy.server_port), 10) as server:
            server.sendall(self.request)
            return b"".join(iter(lambda: server.recv(65536), b""))

    def send(self, data: bytes) -> None:
        self._client.sendall(data)

    def answer(self, status: int, body: bytes = b"", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status} said", *headers, f"Content-Length: {len(body)}"]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def problem(self, status: int, *headers: str) -> None:
        body = json.dumps({"status": status, "title": "Faults", "detail": "as the test wants"})
        self.answer(status, body.encode(), "Content-Type: application/problem+json", *headers)

    def reset(self) -> None:
        """End the connection as a crash does."""
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._client.close()

    def lines(self) -> list[dict[str, Any]]:
        return _lines(self.request.partition(b"\r\n\r\n")[2])


def _lines(body: bytes) -> list[dict[str, Any]]:
    """The lines of a batch; none of another body."""
    try:
        return [json.loads(line) for line in gzip.decompress(body).split(b"\n")]
    except (OSError, EOFError, ValueError):
        return []


class Proxy:
    """`behaviour` may be changed at any time. Counts what arrived whole, by execution and node."""

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.behaviour: Behaviour = fair
        self.requests = 0
        self.told: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._lock = threading.Lock()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def received(self, head: bytes, body: bytes) -> None:
        told = []
        for line in _lines(body):
            told += [
                f"{line.get('id')} {node['nodeId']} {node['runIndex']} {node['status']}"
                for node in line.get("nodeExecutions", [])
            ]
        with self._lock:
            self.requests += head.startswith(b"POST")
            self.told += told

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._exchange, args=(client,), daemon=True).start()

    def _exchange(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, Gone):
            self.behaviour(Exchange(self, client))


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


# --- behaviours ---------------------------------------------------------------------------------------
def fair(each: Exchange) -> None:
    each.receive()
    each.send(each.ask_server())


def slow(each: Exchange) -> None:
    each.receive()
    time.sleep(0.3)
    each.send(each.ask_server())


def absent(each: Exchange) -> None:
    each.reset()


def killed_in_the_middle(each: Exchange) -> None:
    each.receive(share=0.5)
    each.reset()


def hanging(each: Exchange) -> None:
    each.receive()
    time.sleep(60)


def dripping(each: Exchange) -> None:
    each.receive()
    for byte in each.ask_server():
        each.send(bytes([byte]))
        time.sleep(0.3)


def losing_answers(each: Exchange) -> None:
    """The server has stored it, but nobody hears so."""
    each.receive()
    each.ask_server()
    each.reset()


def cutting_answers(each: Exchange) -> None:
    each.receive()
    answer = each.ask_server()
    each.send(answer[: int(len(answer) * 0.8)])


def broken(each: Exchange) -> None:
    each.receive()
    each.answer(500, b"<h1>Internal Server Error</h1>")


def storing_but_broken(each: Exchange) -> None:
    each.receive()
    each.ask_server()
    each.problem(502)


def too_many(each: Exchange, seconds: int = 1) -> None:
    each.receive()
    each.problem(429, f"Retry-After: {seconds}")


def garbage(each: Exchange) -> None:
    each.receive()
    each.answer(200, b"<html>Please sign in to the WLAN</html>", "Content-Type: text/html")


def random_bytes(each: Exchange) -> None:
    each.receive()
    each.answer(200, random.randbytes(500), "Content-Type: application/json")


def cut_json(each: Exchange) -> None:
    each.receive()
    body = each.ask_server().partition(b"\r\n\r\n")[2]
    each.answer(200, body[: len(body) // 2], "Content-Type: application/json")


def _lying(each: Exchange, change: Callable[[list[dict[str, Any]]], object]) -> None:
    results: list[dict[str, Any]] = [
        {"line": number, "result": "created", "id": None, "external_id": line["id"], "reason": None}
        for number, line in enumerate(each.lines(), 1)
    ]
    change(results)
    each.answer(200, json.dumps({"summary": {}, "results": results}).encode())


def answering_for_other_lines(each: Exchange) -> None:
    each.receive()
    _lying(each, lambda results: [result.update(external_id="another") for result in results])


def leaving_lines_out(each: Exchange) -> None:
    each.receive()
    _lying(each, lambda results: results.pop())


def redirecting(each: Exchange) -> None:
    each.receive()
    each.answer(307, b"", f"Location: http://127.0.0.1:{each._proxy.server_port}/api/executions")


def too_large(each: Exchange) -> None:
    """Takes one node at a time."""
    each.receive()
    lines = each.lines()
    if sum(len(line.get("nodeExecutions", [])) for line in lines) > 1:
        each.answer(413, b"<html>413 Request Entity Too Large</html>")
    else:
        each.send(each.ask_server())


def refusing(each: Exchange) -> None:
    each.receive()
    each.problem(422)


def unwilling(each: Exchange) -> None:
    each.receive()
    each.problem(403)
