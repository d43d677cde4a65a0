"""Between the web server's event loop and Django's threads (docs/decisions/0002).

A request's body is read on the event loop against the clock, so a slow sender costs no thread: it
is cut after ``SLOW_BODY_IDLE_SECONDS`` without a byte and ``SLOW_BODY_TOTAL_SECONDS`` in all. Only a
complete request takes one of the threads, where Django runs as plain WSGI. Streamed answers go out
piece by piece, each only when the client took the one before; who takes them too slowly is cut
(``config.limits.DownloadPace``).
"""

import asyncio
import io
import itertools
import json
import logging
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import IO, Any, Protocol

from config.limits import DownloadPace, NoPlace, StreamPlaces
from tenants.streams import owner_in

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[str, str]]

SPOOL_BYTES = 512 * 1024  # larger bodies wait in a file, so that memory stays flat
JOIN_BYTES = 2 * 1024 * 1024  # answers of known size, as all static files, up to this go out whole
SEND_SECONDS = 30.0  # a client that takes nothing for so long is dropped
PART_BYTES = 16 * 1024  # streams go out in parts of at most so much: 16 s at 1 KB/s
WAITING_MAX = 512  # complete requests that may wait for a thread before we refuse


class WsgiApplication(Protocol):
    """What Django's handler is."""

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any], /
    ) -> Iterable[bytes]: ...


@dataclass(slots=True)
class Refusal(Exception):
    """Answered by the bridge itself, as problem+json, and the connection is closed."""

    status: int
    kind: str
    title: str
    detail: str
    headers: Headers = field(default_factory=list)


class ClientGone(Exception):
    """The client closed the connection, or stopped taking our answer."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a body may take: altogether, and between two bytes."""

    total: float
    idle: float


@dataclass(slots=True)
class _Reading:
    """One body on its way."""

    task: "asyncio.Task[Any]"
    started: float
    progressed: float
    expired: bool = False


class BodyReader:
    """Reads bodies on one event loop and cuts the slow ones.

    One timer looks at all bodies on their way; a timer for each would cost every fast request.
    """

    def __init__(self, deadlines: Deadlines, largest: int) -> None:
        self.deadlines = deadlines
        self.largest = largest
        self.pause = min(0.25, deadlines.idle / 4)
        self._by_id: dict[int, _Reading] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def read(self, scope: Scope, receive: Receive) -> tuple[IO[bytes], int]:
        """The whole body and its size. Raises :class:`Refusal`."""
        if _announced_size(scope) > self.largest:
            raise self._too_large()
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        now = loop.time()
        reading = _Reading(task, now, now)
        self._by_id[id(reading)] = reading
        if self._timer is None:
            self._timer = loop.call_later(self.pause, self._look, loop)
        try:
            return await self._collect(loop, reading, receive)
        except asyncio.CancelledError:
            if not reading.expired:
                raise
            raise self._too_slow() from None
        finally:
            del self._by_id[id(reading)]

    async def _collect(
        self, loop: asyncio.AbstractEventLoop, reading: _Reading, receive: Receive
    ) -> tuple[IO[bytes], int]:
        body: IO[bytes] = io.BytesIO()
        size = 0
        while True:
            try:
                message = await receive()
            except Exception as error:  # the server says in many ways that the bytes were no body
                raise self._broken() from error
            # Also where the size of a chunk is none; who is gone does not hear the answer.
            if message["type"] == "http.disconnect":
                raise self._broken()
            if chunk := message.get("body", b""):
                reading.progressed = loop.time()
                size += len(chunk)
                if size > self.largest:
                    raise self._too_large()
                if size > SPOOL_BYTES and isinstance(body, io.BytesIO):
                    body = _to_file(body)
                body.write(chunk)
            if not message.get("more_body", False):
                body.seek(0)
                return body, size

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for reading in self._by_id.values():
            if (
                now - reading.started > self.deadlines.total
                or now - reading.progressed > self.deadlines.idle
            ):
                reading.expired = True
                reading.task.cancel()
        self._timer = loop.call_later(self.pause, self._look, loop) if self._by_id else None

    def _too_slow(self) -> Refusal:
        return Refusal(
            408,
            "slow-body",
            "Request body too slow",
            f"A body has to arrive within {self.deadlines.total:g} seconds and never pause for more "
            f"than {self.deadlines.idle:g}. Nothing was stored; send it again.",
        )

    def _broken(self) -> Refusal:
        return Refusal(
            400,
            "broken-body",
            "Request body broken",
            "The body ended too early or is wrongly chunked. Nothing was stored.",
        )

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            "too-large",
            "Request body too large",
            f"No body may be larger than {self.largest} bytes.",
        )


def _to_file(body: io.BytesIO) -> IO[bytes]:
    file = tempfile.TemporaryFile(prefix="flowwatch-body-")  # noqa: SIM115 - the request closes it
    file.write(body.getbuffer())
    return file


class Bridge:
    """An ASGI application (HTTP only) that runs a WSGI application in ``threads`` threads."""

    def __init__(
        self,
        application: WsgiApplication,
        *,
        threads: int,
        deadlines: Deadlines,
        largest_body: int,
        pace: DownloadPace = DownloadPace(),  # noqa: B008 - frozen
    ) -> None:
        self.application = application
        self.reader = BodyReader(deadlines, largest_body)
        self.largest_body = largest_body
        self.pace = pace
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        # A stream holds its thread for as long as its reader takes.
        self.streams = StreamPlaces(threads)
        for number in range(threads):
            threading.Thread(target=self._work, name=f"request-{number}", daemon=True).start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            body, size = await self._body(scope, receive)
            if self.jobs.qsize() >= WAITING_MAX:
                raise _overloaded()
        except Refusal as refusal:
            await _refuse(send, refusal)
            return
        with body:
            job = _Job(asyncio.get_running_loop(), scope, body, size, receive, send)
            self.jobs.put(job)
            try:
                answer = await job.answer
            except ClientGone:
                if job.gone:
                    return
                raise  # cuts the connection: what was sent must not look complete
            if answer is not None:
                await _send_whole(send, *answer)

    async def _body(self, scope: Scope, receive: Receive) -> tuple[IO[bytes], int]:
        """The body; requests that can't have one wait for nothing."""
        if scope["method"] in ("GET", "HEAD") and not _announces_body(scope):
            return io.BytesIO(), 0
        return await self.reader.read(scope, receive)

    def _work(self) -> None:
        while True:
            job = self.jobs.get()
            try:
                job.finish(self._respond(job))
            except ClientGone:
                job.fail(ClientGone())
            except Exception as error:  # whatever went wrong, this thread has to serve the next
                logger.exception("A request ended with an error outside of Django")
                job.fail(error)

    def _respond(self, job: "_Job") -> "Answer | None":
        """Run Django; the answer when it is small, None when it was streamed already."""
        started: list[Any] = []

        def start_response(status: str, headers: Headers, exc_info: Any = None) -> None:
            started[:] = [int(status[:3]), headers]

        environ = environ_of(job.scope, job.body, job.size)
        pieces = self.application(environ, start_response)
        try:
            status, headers = started
            # Django says of its answers whether they stream; static files do, and know their size.
            if not getattr(pieces, "streaming", True) or _known_size(headers) <= JOIN_BYTES:
                return status, headers, b"".join(pieces)
            with self.streams.one_for(owner_in(environ)):
                job.stream(status, headers, pieces, _Patience(self.pace))
            return None
        except NoPlace as full:
            return _too_many_streams(full.whose)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()


Answer = tuple[int, Headers, bytes]


class _Patience:
    """How long one client is waited for."""

    def __init__(self, pace: DownloadPace) -> None:
        self._pace = pace
        self._waited = 0.0
        self._taken = 0

    def count(self, size: int, seconds: float) -> None:
        """Note what the client took and how long. Raises :class:`ClientGone` when it is too slow."""
        self._waited += seconds
        self._taken += size
        if self._waited < self._pace.window_seconds:
            return
        if self._taken < self._pace.bytes_per_second * self._waited:
            raise ClientGone
        self._waited = 0.0
        self._taken = 0


class _Job:
    """A complete request on its way through a thread."""

    __slots__ = ("answer", "body", "gone", "loop", "receive", "scope", "send", "size")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        scope: Scope,
        body: IO[bytes],
        size: int,
        receive: Receive,
        send: Send,
    ) -> None:
        self.gone = False
        self.receive = receive
        self.loop = loop
        self.scope = scope
        self.body = body
        self.size = size
        self.send = send
        self.answer: asyncio.Future[Answer | None] = loop.create_future()

    def finish(self, answer: Answer | None) -> None:
        self.loop.call_soon_threadsafe(self._settle, answer, None)

    def fail(self, error: Exception) -> None:
        self.loop.call_soon_threadsafe(self._settle, None, error)

    def _settle(self, answer: Answer | None, error: Exception | None) -> None:
        if self.answer.done():
            return
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(answer)

    def stream(
        self, status: int, headers: Headers, pieces: Iterable[bytes], patience: _Patience
    ) -> None:
        """Send part by part from this thread, waiting for the client as long as it is fast enough."""
        start: Message = {
            "type": "http.response.start",
            "status": status,
            "headers": _encoded(headers),
        }
        body = (
            {"type": "http.response.body", "body": part, "more_body": True}
            for piece in pieces
            for part in _parts(piece)
        )
        end: Message = {"type": "http.response.body", "body": b"", "more_body": False}
        watch = asyncio.run_coroutine_threadsafe(self._watch_client(), self.loop)
        try:
            for message in itertools.chain([start], body, [end]):
                began = time.monotonic()
                self._send_from_thread(message)
                patience.count(len(message.get("body", b"")), time.monotonic() - began)
        finally:
            watch.cancel()

    def _send_from_thread(self, message: Message) -> None:
        if self.gone:
            raise ClientGone
        sent = asyncio.run_coroutine_threadsafe(_sent(self.send, message), self.loop)
        try:
            sent.result(SEND_SECONDS)
        except (TimeoutError, OSError, RuntimeError) as error:
            sent.cancel()
            raise ClientGone from error

    async def _watch_client(self) -> None:
        """Notice that nobody listens any more: sending alone does not tell."""
        while (await self.receive())["type"] != "http.disconnect":
            continue
        self.gone = True


def _parts(piece: bytes) -> Iterable[bytes]:
    """What a slow client can take in ``SEND_SECONDS``; nothing of an empty piece."""
    if 0 < len(piece) <= PART_BYTES:
        return (piece,)
    return (piece[at : at + PART_BYTES] for at in range(0, len(piece), PART_BYTES))


async def _sent(send: Send, message: Message) -> None:
    await send(message)


def environ_of(scope: Scope, body: IO[bytes], size: int) -> dict[str, Any]:
    """The WSGI environment of an ASGI request whose body is here."""
    server = scope.get("server") or ("localhost", 80)
    client = scope.get("client") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        # WSGI wants the bytes of the UTF-8 path, one character each.
        "PATH_INFO": scope["path"].encode("utf-8", "replace").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": "HTTP/" + scope["http_version"],
        "REMOTE_ADDR": client[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = _ENVIRON_NAMES.get(name) or _environ_name(name)
        if not key:
            continue
        text = value.decode("latin-1")
        if key in environ:
            text = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + text
        environ[key] = text
    if size or "CONTENT_LENGTH" in environ:
        environ["CONTENT_LENGTH"] = str(size)
    return environ


_ENVIRON_NAMES: dict[bytes, str] = {
    b"content-type": "CONTENT_TYPE",
    b"content-length": "CONTENT_LENGTH",
}


def _environ_name(name: bytes) -> str:
    """``x-api-key`` → ``HTTP_X_API_KEY``; a name with an underscore could forge another: dropped."""
    if b"_" in name or name.lower() == b"transfer-encoding":
        return ""
    return "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


def _announced_size(scope: Scope) -> int:
    return next((int(v) for name, v in scope["headers"] if name == b"content-length"), 0)


def _announces_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def _known_size(headers: Headers) -> float:
    for name, value in headers:
        if name.lower() == "content-length":
            return int(value)
    return float("inf")


def _overloaded() -> Refusal:
    return Refusal(
        503,
        "unavailable",
        "Too busy",
        "More requests are waiting than this server can answer soon. Repeat it in a moment.",
        [("Retry-After", "1")],
    )


_RUNNING = {
    "one": "You have as many downloads running as one may have at once. Let one of them end first.",
    "tenant": "As many downloads of this tenant are running as there may be at once. Repeat it later.",
    "all": "As many downloads as this server can serve are running. Repeat it in a moment.",
}


def _too_many_streams(whose: str) -> Answer:
    busy = whose == "all"
    refusal = Refusal(
        503 if busy else 429,
        "unavailable" if busy else "too-many-downloads",
        "Too many downloads",
        _RUNNING[whose],
        [("Retry-After", "5")],
    )
    return refusal.status, _headers_of(refusal), _problem(refusal)


async def _refuse(send: Send, refusal: Refusal) -> None:
    headers = [*_headers_of(refusal), ("Connection", "close")]
    await _send_whole(send, refusal.status, headers, _problem(refusal))


def _problem(refusal: Refusal) -> bytes:
    problem = {
        "type": f"/problems/{refusal.kind}",
        "title": refusal.title,
        "status": refusal.status,
        "detail": refusal.detail,
    }
    return json.dumps(problem).encode()


def _headers_of(refusal: Refusal) -> Headers:
    return [
        ("Content-Type", "application/problem+json"),
        ("X-Content-Type-Options", "nosniff"),
        *refusal.headers,
    ]


async def _send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": body})


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [
        (name.lower().encode("latin-1"), value.strip().encode("latin-1")) for name, value in headers
    ]
