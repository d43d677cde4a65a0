"""Receivers that listen on this machine: of webhooks, and mail servers that misbehave on purpose."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Serve = Callable[[socket.socket, "Receiver"], None]


@dataclass
class Call:
    """One request that arrived."""

    head: str
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.split("\r\n")[1:]
        return {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in lines)
            if name
        }

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """A server that does with each connection what `serve` says; counts what comes."""

    serve: Serve
    port: int = 0
    connections: int = 0
    calls: list[Call] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    """Ids of the calls that were answered 2xx."""
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def wait_for(self, number: int) -> None:
        end = time.monotonic() + 10
        while len(self.calls) < number:
            assert time.monotonic() < end, f"{len(self.calls)} of {number} came"
            time.sleep(0.01)


@contextmanager
def receiver(serve: Serve, host: str = "127.0.0.1", port: int = 0) -> Iterator[Receiver]:
    """Run a receiver; each connection has a thread of its own."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listening:
        running = Receiver(serve, listening.getsockname()[1])

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connected, _ = listening.accept()
                    running.connections += 1
                    threading.Thread(target=_serve, args=(connected, running), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield running
        finally:
            running.stopped.set()
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
            thread.join(5)


def _serve(connected: socket.socket, running: Receiver) -> None:
    with connected, contextlib.suppress(OSError):
        connected.settimeout(30)
        running.serve(connected, running)


# --- webhooks -------------------------------------------------------------------------------------


def read_call(connected: socket.socket, running: Receiver) -> Call:
    """Read one whole request and keep it."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connected.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    call = Call(head.decode("latin-1"), b"")
    while len(body) < int(call.headers.get("content-length", "0")):
        body += connected.recv(65536)
    call.body = body
    running.calls.append(call)
    return call


def answering(status: int, *headers: str, body: bytes = b"said", first: int = 0) -> Serve:
    """Answers a status; with `first`, other calls than the first so many are answered 200."""

    def serve(connected: socket.socket, running: Receiver) -> None:
        call = read_call(connected, running)
        said = status if not first or len(running.calls) <= first else 200
        if 200 <= said < 300 and "webhook-id" in call.headers:
            running.accepted.append(call.id)
        lines = [f"HTTP/1.1 {said} X", f"Content-Length: {len(body)}", *headers]
        connected.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    return serve


def at_first(times: int, trouble: Serve) -> Serve:
    """Makes trouble for the first so many connections, then answers 200."""

    def serve(connected: socket.socket, running: Receiver) -> None:
        (trouble if running.connections <= times else answering(200))(connected, running)

    return serve


def hanging(connected: socket.socket, running: Receiver) -> None:
    """Takes the request and says nothing."""
    read_call(connected, running)
    running.stopped.wait(30)


def dripping(connected: socket.socket, running: Receiver) -> None:
    """Answers one byte every twentieth of a second, without end."""
    read_call(connected, running)
    connected.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not running.stopped.wait(0.05):
        connected.sendall(b"x")


def closing(connected: socket.socket, running: Receiver) -> None:
    """Closes after the request without an answer."""
    read_call(connected, running)


def endless(connected: socket.socket, running: Receiver) -> None:
    """Answers more than anybody wants to read."""
    read_call(connected, running)
    connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
    while not running.stopped.is_set():
        connected.sendall(b"\0" * 65536)


# --- mail servers ---------------------------------------------------------------------------------


@dataclass
class Post:
    """A mail server that can be told to misbehave."""

    mails: list[tuple[str, str]] = field(default_factory=list)
    """(recipient, content) of what was taken or given before a cut."""
    accepted: list[tuple[str, str]] = field(default_factory=list)
    """Those of them that were answered 250 after the final dot."""
    refused: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, Serve] = field(default_factory=dict)
    """What happens once in place of an answer to the final dot, by recipient."""
    cuts_after_dot: int = 0
    answer_after_dot: str = "250 kept"
    slow_seconds: float = 0.0

    def serve(self, connected: socket.socket, running: Receiver) -> None:
        lines = connected.makefile("rb")
        recipient = ""

        def say(text: str) -> None:
            time.sleep(self.slow_seconds)
            connected.sendall(text.encode() + b"\r\n")

        say("220 trial")
        for line in lines:
            word = line.decode("latin-1").strip()
            command = word[:4].upper()
            if command == "RCPT":
                recipient = word[word.index("<") + 1 : word.index(">")]
                say(self.refused.get(recipient, "250 ok"))
            elif command == "DATA":
                say("354 go on")
                content = b""
                while (part := lines.readline()) not in (b".\r\n", b""):
                    content += part.removeprefix(b".")
                self.mails.append((recipient, content.decode()))
                if self.cuts_after_dot:
                    self.cuts_after_dot -= 1
                    return
                if trouble := self.troubles.pop(recipient, None):
                    trouble(connected, running)
                    return
                if self.answer_after_dot.startswith("250"):
                    self.accepted.append(self.mails[-1])
                say(self.answer_after_dot)
            elif command == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")


@contextmanager
def post_office(**behaviour: object) -> Iterator[tuple[Post, int]]:
    """A mail server and its port."""
    post = Post(**behaviour)  # type: ignore[arg-type]
    with receiver(post.serve) as running:
        yield post, running.port
