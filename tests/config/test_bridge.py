"""The bridge between event loop and threads, without a network."""

import asyncio
import io
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.urls import resolve

from config import waiting
from config.bodies import (
    SPOOL_BYTES,
    TAKE_LARGE_BODIES,
    BodyReader,
    Deadlines,
    Sizes,
    takes_large_bodies,
)
from config.bridge import (
    JOIN_BYTES,
    PART_BYTES,
    Bridge,
    ClientGone,
    environ_of,
)
from config.limits import DownloadPace, NoPlace, StreamPlaces
from config.waiting import BOUNDS, Bounds, Lane
from tenants.streams import StreamOwner, name_owner

Headers = list[tuple[str, str]]


def scope(
    method: str = "POST", path: str = "/x", headers: Iterable[tuple[bytes, bytes]] = ()
) -> Any:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": "q=é".encode(),
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8000),
        "client": ("192.0.2.1", 4711),
        "headers": list(headers),
    }


def body_reader(usual: int = 2_000_000, large: int = 3_000_000, **budgets: int) -> BodyReader:
    """Reads bodies up to `usual` bytes, at /large up to `large`."""
    sizes = Sizes(usual=usual, large=large, is_large=lambda path: path == "/large")
    return BodyReader(Deadlines(total=1.0, idle=0.2), sizes, **budgets)


def answer_of(
    application: Any,
    pieces: Iterable[bytes],
    *,
    disconnects: bool = False,
    reader: BodyReader | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """All messages that the bridge sends for a body that arrives in these pieces."""
    sent: list[dict[str, Any]] = []
    waiting = pieces if isinstance(pieces, list) else list(pieces)

    async def receive() -> dict[str, Any]:
        while not waiting and disconnects:
            await asyncio.sleep(0.001)
            if len(sent) > 10:
                return {"type": "http.disconnect"}
        if not waiting:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    bridge = Bridge(application, threads=1, reader=reader or body_reader())
    # In a thread of its own: a browser test before may have left this one a running event loop.
    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, bridge(scope(**options), receive, send)).result()
    return sent


def test_a_body_that_breaks_off_is_answered() -> None:
    """The server says the same where the client is gone and where the size of a chunk is none."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    bridge = Bridge(echo, threads=1, reader=body_reader(100))
    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, bridge(scope(), receive, send)).result()
    assert sent[0]["status"] == 400


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "0")])
    body = environ["wsgi.input"].read()
    return [
        f"{environ['CONTENT_LENGTH']} {len(body)} {type(environ['wsgi.input']).__name__}".encode()
    ]


@pytest.mark.parametrize("size", [0, 1, SPOOL_BYTES, SPOOL_BYTES + 1])
def test_a_body_arrives_whole_in_memory_or_in_a_file(size: int) -> None:
    pieces = [b"x" * min(65536, size - at) for at in range(0, size, 65536)] or [b""]
    start, body = answer_of(echo, pieces, headers=[(b"content-length", str(size).encode())])
    kind = "BytesIO" if size <= SPOOL_BYTES else "BufferedRandom"
    assert start["status"] == 200
    assert body["body"] == f"{size} {size} {kind}".encode()


def test_a_body_that_stops_is_cut_with_a_problem() -> None:
    start, body = answer_of(echo, [])
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    assert b'"type": "/problems/slow-body"' in body["body"]


def test_a_body_without_a_length_is_refused_when_it_grows_too_large() -> None:
    start, _ = answer_of(echo, [b"x" * 1_000_000] * 3)
    assert start["status"] == 413


MEGABYTE = b"x" * 1_000_000


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(
    ("path", "pieces", "status"),
    [("/x", 2, 200), ("/x", 3, 413), ("/large", 3, 200), ("/large", 4, 413)],
)
def test_only_some_paths_take_large_bodies(
    path: str, pieces: int, status: int, announced: bool
) -> None:
    size = str(pieces * len(MEGABYTE)).encode()
    headers = [(b"content-length", size)] if announced else []
    start, *_ = answer_of(echo, [MEGABYTE] * pieces, path=path, headers=headers)
    assert start["status"] == status


def test_addresses_with_large_bodies_are_known_by_their_paths() -> None:
    paths = {"/api/executions/batch", "/t/some/workflows/upload/"}
    assert {resolve(path).view_name for path in paths} == TAKE_LARGE_BODIES
    assert all(map(takes_large_bodies, paths))
    for path in ("/sign-in/", "/api/executions", "/t/some/executions/delete/", "/nowhere", "//"):
        assert not takes_large_bodies(path)


@pytest.mark.parametrize("announced", [True, False])
def test_large_bodies_that_do_not_fit_together_are_asked_to_come_later(announced: bool) -> None:
    reader = body_reader(file_bytes=2_500_000)
    headers = [(b"content-length", b"2000000")] if announced else []
    large: dict[str, Any] = {"reader": reader, "headers": headers}
    with reader.no_body() as other:
        other.add(MEGABYTE)
        start, body = answer_of(echo, [MEGABYTE] * 2, **large)
        assert start["status"] == 503
        assert (b"retry-after", b"1") in start["headers"]
        assert b"Nothing was stored" in body["body"]
        assert answer_of(echo, [b"small"], reader=reader)[0]["status"] == 200
    assert answer_of(echo, [MEGABYTE] * 2, **large)[0]["status"] == 200, "the other one has gone"


def test_small_bodies_are_bounded_together_too() -> None:
    reader = body_reader(memory_bytes=1_000)
    with reader.no_body() as other:
        other.add(b"x" * 500)
        assert answer_of(echo, [b"x" * 501], reader=reader)[0]["status"] == 503
        assert answer_of(echo, [b"x" * 500], reader=reader)[0]["status"] == 200


@pytest.mark.parametrize("pieces", [[], [MEGABYTE], [MEGABYTE] * 3, [b"x" * 10]])
def test_whatever_becomes_of_a_body_its_bytes_are_let_go(pieces: list[bytes]) -> None:
    reader = body_reader()
    before = (reader.memory.left, reader.files.left)
    answer_of(echo, list(pieces), reader=reader)
    assert (reader.memory.left, reader.files.left) == before


def test_a_request_that_waits_too_long_for_a_thread_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(BOUNDS, Lane.OTHERS, Bounds(full=10, longest=0.2))
    told: list[str] = []
    let_go = threading.Event()

    def slow(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        told.append(environ["PATH_INFO"])
        let_go.wait(30)
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    bridge = Bridge(slow, threads=1, reader=body_reader())
    clients = {path: Reader(pause=0) for path in ("/first", "/second", "/third")}

    async def ask(path: str) -> None:
        await bridge(scope("GET", path), clients[path].receive, clients[path].send)

    async def ask_all() -> None:
        first = asyncio.create_task(ask("/first"))
        while not told:
            await asyncio.sleep(0.01)
        await ask("/second")  # answered while the only thread is busy
        let_go.set()
        await first
        await ask("/third")

    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, ask_all()).result()
    assert {path: client.statuses for path, client in clients.items()} == {
        "/first": [200],
        "/second": [503],
        "/third": [200],
    }
    assert (b"retry-after", b"1") in clients["/second"].headers
    assert told == ["/first", "/third"], "what was refused is not done"


@pytest.mark.parametrize("size", [10, SPOOL_BYTES + 1])
def test_what_would_wait_too_long_is_refused_at_once_and_a_large_body_not_even_read(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setitem(BOUNDS, Lane.PUSHES, Bounds(full=0, longest=10))
    monkeypatch.setattr(waiting, "LEAST", 1)
    begun, let_go = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        begun.set()
        let_go.wait(30)
        return echo(environ, start_response)

    bridge = Bridge(slow, threads=1, reader=body_reader())
    reads: list[str] = []

    async def ask(path: str, method: str = "POST") -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            reads.append(path)
            return {"type": "http.request", "body": b"x" * size, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [(b"content-length", str(size).encode())]
        await bridge(scope(method, path, headers), receive, send)
        return sent

    async def ask_all() -> tuple[dict[str, Any], dict[str, Any], int]:
        busy = asyncio.create_task(ask("/api/first"))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        waits = asyncio.create_task(ask("/api/second"))
        await asyncio.sleep(0.05)
        head, body = await ask("/api/third")
        page = asyncio.create_task(ask("/page", "GET"))
        await asyncio.sleep(0.05)
        let_go.set()
        await asyncio.gather(busy, waits)
        return head, body, (await page)[0]["status"]

    with ThreadPoolExecutor(1) as other:
        head, body, page = other.submit(asyncio.run, ask_all()).result()
    assert head["status"] == 503
    assert (b"retry-after", b"1") in head["headers"]
    assert b"Repeat it in a moment" in body["body"]
    assert page == 200, "a page waits in a lane of its own"
    is_small = size < SPOOL_BYTES
    assert ("/api/third" in reads) is is_small, "nobody sends 64 MB to be refused"
    # Only a connection whose body was read can be used again.
    assert ((b"connection", b"close") in head["headers"]) is not is_small


def test_while_all_threads_hang_the_process_still_says_that_it_lives() -> None:
    begun, let_go = threading.Event(), threading.Event()

    def hanging(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] != "/health/live":
            begun.set()
            let_go.wait(30)
        start_response("200 OK", [("Content-Length", "0")])
        return [b""]

    bridge = Bridge(hanging, threads=1, reader=body_reader())
    clients = {path: Reader(pause=0) for path in ("/page", "/health/live")}

    async def ask(path: str) -> None:
        await bridge(scope("GET", path), clients[path].receive, clients[path].send)

    async def ask_all() -> None:
        page = asyncio.create_task(ask("/page"))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        await asyncio.wait_for(ask("/health/live"), 10)
        let_go.set()
        await page

    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, ask_all()).result()
    assert clients["/health/live"].statuses == [200]


def test_a_body_that_the_server_calls_broken_is_refused_with_a_problem() -> None:
    class Broken(list[bytes]):
        def pop(self, *_: Any) -> bytes:
            raise RuntimeError("wrongly chunked")

    start, body = answer_of(echo, Broken([b"x"]))
    assert start["status"] == 400
    assert b'"type": "/problems/broken-body"' in body["body"]


def test_an_error_outside_of_django_reaches_the_server() -> None:
    def broken(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise RuntimeError("outside")

    with pytest.raises(RuntimeError, match="outside"):
        answer_of(broken, [b""])


class Stream:
    """An answer of unknown length that knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from (b"one", b"", b"two")

    def close(self) -> None:
        self.closed = True


def test_a_stream_goes_out_piece_by_piece_and_is_closed() -> None:
    stream = Stream()

    def application(environ: dict[str, Any], start_response: Any) -> Stream:
        start_response("200 OK", [("X", "é")])
        return stream

    messages = answer_of(application, [b""])
    assert [m.get("body") for m in messages] == [None, b"one", b"two", b""]
    assert messages[-1]["more_body"] is False
    assert stream.closed


ANN = StreamOwner("ann", 1)
BEN = StreamOwner("ben", 1)
CLEO = StreamOwner("cleo", 1)
DORA = StreamOwner("dora", 2)


@pytest.mark.parametrize(
    ("running", "asking", "status"),
    [
        ([], ANN, 200),
        ([ANN], ANN, 200),
        ([ANN, ANN], ANN, 429),
        ([ANN, ANN], BEN, 200),
        ([ANN, ANN, BEN, BEN], CLEO, 429),
        ([ANN, ANN, BEN, BEN], DORA, 200),
        ([ANN, ANN, BEN, BEN], None, 200),
        ([ANN, ANN, BEN, BEN, DORA, DORA, None, None], StreamOwner("eve", 3), 503),
    ],
)
def test_nobody_is_kept_from_downloads_by_one_person_or_tenant(
    running: list[StreamOwner | None], asking: StreamOwner | None, status: int
) -> None:
    stream = Stream()

    def streaming(environ: dict[str, Any], start_response: Any) -> Stream:
        if asking is not None:
            name_owner(environ, *asking)
        start_response("200 OK", [])
        return stream

    bridge = Bridge(streaming, threads=16, reader=body_reader(1_000))
    reader = Reader(pause=0)
    with ExitStack() as others, ThreadPoolExecutor(1) as thread:
        for owner in running:
            others.enter_context(bridge.streams.one_for(owner))
        thread.submit(asyncio.run, bridge(scope("GET"), reader.receive, reader.send)).result()
    assert reader.statuses == [status]
    assert stream.closed
    if status != 200:
        assert (b"retry-after", b"5") in reader.headers


def test_a_place_is_free_again_when_the_download_ended() -> None:
    places = StreamPlaces(threads=2)
    for _ in range(3):
        with places.one_for(ANN), pytest.raises(NoPlace), places.one_for(DORA):
            pass


def test_every_static_file_goes_out_whole() -> None:
    largest = max(file.stat().st_size for file in Path("static").rglob("*") if file.is_file())
    assert largest <= JOIN_BYTES, "strangers could take all places by reading it slowly"


def test_a_stream_ends_when_nobody_listens_any_more() -> None:
    made: list[int] = []

    def endless(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])

        def pieces() -> Iterator[bytes]:
            for number in range(1_000_000):
                made.append(number)
                yield b"x"

        return pieces()

    messages = answer_of(endless, [b""], disconnects=True)
    assert 0 < len(made) < 1_000_000
    assert messages[-1]["more_body"] is True


PACE = DownloadPace(bytes_per_second=100_000, window_seconds=0.1)
# A busy machine holds up the quickest client, too.
EASY_PACE = DownloadPace(bytes_per_second=1_000, window_seconds=0.1)
LONG_PACE = DownloadPace(bytes_per_second=100_000, window_seconds=0.5)
PIECES = 40


class Reader:
    """A client that takes a stream's parts, each after a pause."""

    def __init__(self, pause: float) -> None:
        self.pause = pause
        self.taken: list[bytes] = []
        self.statuses: list[int] = []
        self.headers: list[tuple[bytes, bytes]] = []

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(3600)
        raise AssertionError("the stream ended long ago")

    async def send(self, message: dict[str, Any]) -> None:
        await asyncio.sleep(self.pause)
        if "status" in message:
            self.statuses.append(message["status"])
            self.headers += message["headers"]
        self.taken.append(message.get("body", b""))


def read_stream(reader: Reader, size: int, pace: DownloadPace = EASY_PACE) -> Bridge:
    """Let the client take ``PIECES`` pieces of a size."""

    def streaming(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        return (b"x" * size for _ in range(PIECES))

    bridge = Bridge(streaming, threads=1, reader=body_reader(1_000), pace=pace)
    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, bridge(scope("GET"), reader.receive, reader.send)).result()
    return bridge


def test_a_client_that_takes_a_stream_too_slowly_is_cut_and_its_place_freed() -> None:
    reader = Reader(pause=0.02)
    with pytest.raises(ClientGone):  # so that the server cuts the connection
        read_stream(reader, 1_000, PACE)  # 50 KB in a second
    assert len(reader.taken) < PIECES


def test_a_client_faster_than_demanded_gets_all() -> None:
    reader = Reader(pause=0.02)
    bridge = read_stream(reader, 10_000)  # 500 KB in a second
    assert sum(map(len, reader.taken)) == PIECES * 10_000
    with bridge.streams.one_for(ANN):
        pass


def test_what_django_needs_to_make_a_part_is_not_the_clients_time() -> None:
    reader = Reader(pause=0)

    def streaming(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])

        def parts() -> Iterator[bytes]:
            for _ in range(3):
                time.sleep(1.5 * LONG_PACE.window_seconds)
                yield b"x"

        return parts()

    bridge = Bridge(streaming, threads=1, reader=body_reader(9), pace=LONG_PACE)
    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, bridge(scope("GET"), reader.receive, reader.send)).result()
    assert b"".join(reader.taken) == b"xxx"


def test_a_large_piece_goes_out_in_parts_that_a_slow_client_can_take() -> None:
    reader = Reader(pause=0)
    read_stream(reader, 2 * PART_BYTES + 1)
    assert {len(part) for part in reader.taken} == {0, 1, PART_BYTES}
    assert sum(map(len, reader.taken)) == PIECES * (2 * PART_BYTES + 1)


def test_the_environment_is_what_wsgi_says() -> None:
    headers = [
        (b"x-api-key", b"k"),
        (b"x_api_key", b"forged"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"accept", b"x"),
        (b"accept", b"y"),
        (b"transfer-encoding", b"chunked"),
    ]
    environ = environ_of(scope(path="/é/%", headers=headers), io.BytesIO(b"ab"), 2)
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/é/%"
    assert environ["QUERY_STRING"].encode("latin-1").decode() == "q=é"
    assert environ["HTTP_X_API_KEY"] == "k"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["HTTP_ACCEPT"] == "x,y"
    assert environ["CONTENT_LENGTH"] == "2"
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert "HTTP_TRANSFER_ENCODING" not in environ
