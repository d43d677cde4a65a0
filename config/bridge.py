"""Between the web server's event loop and Django's threads (docs/decisions/0002).

A request's body is read on the event loop (``config.bodies``), so a slow sender costs no thread. Only a
complete request takes one of the threads, where Django runs as plain WSGI; one that would wait too
long for it is refused (``config.waiting``). Streamed answers go out piece by piece, each only when
the client took the one before; who takes them too slowly is cut (``config.limits.DownloadPace``).
"""

import asyncio
import itertools
import json
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import IO, Any, Protocol

from config.bodies import (
    SPOOL_BYTES,
    Body,
    BodyReader,
    Headers,
    Message,
    Receive,
    Refusal,
    Scope,
    announced_size,
)
from config.limits import DownloadPace, NoPlace, StreamPlaces
from config.waiting import Lane, Waiting, lane_of
from tenants.request_ids import HEADER, answering, request_id_of
from tenants.streams import owner_in

logger = logging.getLogger(__name__)

Send = Callable[[Message], Awaitable[None]]

JOIN_BYTES = 2 * 1024 * 1024  # answers of known size, as all static files, up to this go out whole
SEND_SECONDS = 30.0  # a client that takes nothing for so long is dropped
PART_BYTES = 16 * 1024  # streams go out in parts of at most so much: 16 s at 1 KB/s


class WsgiApplication(Protocol):
    """What Django's handler is."""

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any], /
    ) -> Iterable[bytes]: ...


Observe = Callable[[str, str, int, float], None]
"""Is told each answer's path, method and status, and the seconds until it began."""


def _observe_nothing(path: str, method: str, status: int, seconds: float) -> None:
    """Where nobody counts."""


class ClientGone(Exception):
    """The client closed the connection, or stopped taking our answer."""


class Bridge:
    """An ASGI application (HTTP only) that runs a WSGI application in ``threads`` threads."""

    def __init__(
        self,
        application: WsgiApplication,
        *,
        threads: int,
        reader: BodyReader,
        pace: DownloadPace = DownloadPace(),  # noqa: B008 - frozen
        observe: Observe = _observe_nothing,
    ) -> None:
        self.application = application
        self.reader = reader
        self.pace = pace
        self._observe = observe
        probes: Waiting[_Job] = Waiting(_give_up, Lane.PROBES)
        others: Waiting[_Job] = Waiting(_give_up, Lane.PUSHES, Lane.OTHERS)
        self._waiting = {Lane.PROBES: probes, Lane.PUSHES: others, Lane.OTHERS: others}
        # A stream holds its thread for as long as its reader takes.
        self.streams = StreamPlaces(threads)
        for number, waiting in enumerate([probes, *[others] * threads]):
            threading.Thread(
                target=self._work, args=[waiting], name=f"request-{number}", daemon=True
            ).start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        request_id = request_id_of(scope["headers"])
        send = self._marking(request_id, scope, send)
        loop = asyncio.get_running_loop()
        lane = lane_of(scope["path"], scope["method"])
        try:
            if announced_size(scope) > SPOOL_BYTES:
                self._demand_room(lane)  # before so much is sent for nothing
            with await self._body(scope, receive) as body:
                self._demand_room(lane, keeps_connection=True)
                await self._answer(_Job(loop, lane, scope, body, receive, send, request_id))
        except Refusal as refusal:
            await _refuse(send, refusal)

    def _marking(self, request_id: str, scope: Scope, send: Send) -> Send:
        """Send, but say in an answer's head which request's it is, and tell that it begins."""
        began = time.monotonic()

        def marking(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"].append((HEADER, request_id.encode()))
                seconds = time.monotonic() - began
                self._observe(scope["path"], scope["method"], message["status"], seconds)
            return send(message)

        return marking

    async def _answer(self, job: "_Job") -> None:
        """Let a thread answer. Raises :class:`Refusal` when none comes to it in time."""
        self._waiting[job.lane].add(job, job.loop)
        try:
            answer = await job.answer
        except ClientGone:
            if job.gone:
                return
            raise  # cuts the connection: what was sent must not look complete
        if answer is not None:
            await _send_whole(job.send, *answer)

    async def _body(self, scope: Scope, receive: Receive) -> Body:
        """The body; requests that can't have one wait for nothing."""
        if scope["method"] in ("GET", "HEAD") and not _announces_body(scope):
            return self.reader.no_body()
        return await self.reader.read(scope, receive)

    def _demand_room(self, lane: Lane, *, keeps_connection: bool = False) -> None:
        """Raise :class:`Refusal` when a request of this lane would wait too long for a thread."""
        if self._waiting[lane].is_full(lane):
            raise _overloaded(keeps_connection=keeps_connection)

    def _work(self, waiting: "Waiting[_Job]") -> None:
        while True:
            job = waiting.take()
            if job is not None:
                with answering(job.request_id):
                    self._finish(job)

    def _finish(self, job: "_Job") -> None:
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

        environ = environ_of(job.scope, job.body.file, job.body.size)
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

    __slots__ = (
        "ahead", "answer", "body", "gone", "lane", "loop", "receive", "request_id", "scope", "send",
        "since",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lane: Lane,
        scope: Scope,
        body: Body,
        receive: Receive,
        send: Send,
        request_id: str,
    ) -> None:
        self.lane = lane
        self.request_id = request_id
        self.since = time.monotonic()
        self.ahead = 0
        self.gone = False
        self.receive = receive
        self.loop = loop
        self.scope = scope
        self.body = body
        self.send = send
        self.answer: asyncio.Future[Answer | None] = loop.create_future()

    def finish(self, answer: Answer | None) -> None:
        self.loop.call_soon_threadsafe(self.settle, answer, None)

    def fail(self, error: Exception) -> None:
        self.loop.call_soon_threadsafe(self.settle, None, error)

    def settle(self, answer: Answer | None, error: Exception | None) -> None:
        """Let the request go on with an answer or an error; on the event loop."""
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


def _announces_body(scope: Scope) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])


def _known_size(headers: Headers) -> float:
    for name, value in headers:
        if name.lower() == "content-length":
            return int(value)
    return float("inf")


def _overloaded(*, keeps_connection: bool = True) -> Refusal:
    return Refusal.busy(
        "More requests are waiting than this server can answer soon. Repeat it in a moment.",
        keeps_connection=keeps_connection,
    )


def _give_up(job: _Job) -> None:
    job.settle(None, _overloaded())


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
    headers = _headers_of(refusal)
    if not refusal.keeps_connection:
        headers.append(("Connection", "close"))
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
