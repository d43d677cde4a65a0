"""Bodies of requests on their way in: read on the event loop, bounded in time, size and number.

A slow sender is cut after ``SLOW_BODY_IDLE_SECONDS`` without a byte and ``SLOW_BODY_TOTAL_SECONDS`` in all
(docs/decisions/0002). Anybody may send, before we know who it is: so all bodies of a process together
are bounded, in memory and in files.
"""

import asyncio
import io
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import IO, Any, Self

from django.urls import Resolver404, resolve

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Headers = list[tuple[str, str]]

SPOOL_BYTES = 512 * 1024  # larger bodies wait in a file, so that memory stays flat
MEMORY_BYTES = 128 * 1024 * 1024  # that small bodies may take together, in one process
FILE_BYTES = 512 * 1024 * 1024  # and the large ones: eight of the largest batches


@dataclass(slots=True)
class Refusal(Exception):
    """Answered by the bridge itself, as problem+json.

    The connection is closed, as the rest of a body may still be under way, unless it `keeps_connection`.
    """

    status: int
    kind: str
    title: str
    detail: str
    headers: Headers = field(default_factory=list)
    keeps_connection: bool = False

    @classmethod
    def busy(cls, detail: str, *, keeps_connection: bool = False) -> Self:
        """Asks to repeat the request soon."""
        retry_after = [("Retry-After", "1")]
        return cls(503, "unavailable", "Too busy", detail, retry_after, keeps_connection)


class Budget:
    """Bytes that may be held at once; used on one event loop."""

    def __init__(self, most: int) -> None:
        self.left = most

    def demand(self, size: int) -> None:
        """Raise :class:`Refusal` when so many are not there."""
        if size > self.left:
            raise Refusal.busy(
                "More is being sent than this server can hold at once. Nothing was stored; repeat it "
                "in a moment."
            )

    def take(self, size: int) -> None:
        """Hold so many more. Raises :class:`Refusal` when they are not there."""
        self.demand(size)
        self.left -= size

    def give_back(self, size: int) -> None:
        """Hold so many less."""
        self.left += size


class Body:
    """A body, arriving or complete; counts in a budget until it is closed."""

    __slots__ = ("_files", "_held_in", "_memory", "file", "size")

    def __init__(self, memory: Budget, files: Budget) -> None:
        self.file: IO[bytes] = io.BytesIO()
        self.size = 0
        self._memory = memory
        self._files = files
        self._held_in = memory

    def add(self, chunk: bytes) -> None:
        """Put what arrived behind what is there. Raises :class:`Refusal` when there is no room."""
        if self._held_in is self._memory and self.size + len(chunk) > SPOOL_BYTES:
            self._move_to_file()
        self._held_in.take(len(chunk))
        self.size += len(chunk)
        self.file.write(chunk)

    def _move_to_file(self) -> None:
        self._files.take(self.size)
        self._memory.give_back(self.size)
        self._held_in = self._files
        begun = self.file
        self.file = tempfile.TemporaryFile(prefix="flowwatch-body-")  # noqa: SIM115 - close() does
        begun.seek(0)
        self.file.write(begun.read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the bytes."""
        self._held_in.give_back(self.size)
        self.size = 0
        self.file.close()


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a body may take: altogether, and between two bytes."""

    total: float
    idle: float


TAKE_LARGE_BODIES = frozenset({"monitoring:api-executions-batch", "monitoring:definition-upload"})
"""Names of the addresses whose bodies may be as large as a batch."""


def takes_large_bodies(path: str) -> bool:
    """Whether the address of this path is one of those."""
    try:
        return resolve(path).view_name in TAKE_LARGE_BODIES
    except Resolver404:
        return False


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a body may be: one for any path, and more for those of which `is_large` says so."""

    usual: int
    large: int
    is_large: Callable[[str], bool] = takes_large_bodies

    def largest(self, path: str, size: int) -> int:
        """The bound for a body of at least `size`; only large ones cost a look at the path."""
        return self.usual if size <= self.usual or not self.is_large(path) else self.large


@dataclass(slots=True)
class _Reading:
    """One body on its way."""

    task: "asyncio.Task[Any]"
    started: float
    progressed: float
    largest: int
    expired: bool = False


class BodyReader:
    """Reads bodies on one event loop and cuts the slow ones.

    One timer looks at all bodies on their way; a timer for each would cost every fast request.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        sizes: Sizes,
        *,
        memory_bytes: int = MEMORY_BYTES,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        self.deadlines = deadlines
        self.sizes = sizes
        self.memory = Budget(memory_bytes)
        self.files = Budget(file_bytes)
        self.pause = min(0.25, deadlines.idle / 4)
        self._by_id: dict[int, _Reading] = {}
        self._timer: asyncio.TimerHandle | None = None

    def no_body(self) -> Body:
        """An empty one."""
        return Body(self.memory, self.files)

    async def read(self, scope: Scope, receive: Receive) -> Body:
        """The whole body, which the caller closes. Raises :class:`Refusal`."""
        announced = announced_size(scope)
        largest = self._largest(scope, announced)
        if announced > SPOOL_BYTES:
            self.files.demand(announced)
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        now = loop.time()
        reading = _Reading(task, now, now, largest)
        self._by_id[id(reading)] = reading
        if self._timer is None:
            self._timer = loop.call_later(self.pause, self._look, loop)
        body = self.no_body()
        try:
            await self._collect(scope, reading, body, receive)
        except asyncio.CancelledError:
            body.close()
            if not reading.expired:
                raise
            raise self._too_slow() from None
        except BaseException:  # whatever ends this, what it held must be free again
            body.close()
            raise
        finally:
            del self._by_id[id(reading)]
        return body

    def _largest(self, scope: Scope, size: int) -> int:
        """The bound for a body that has, or announces, so many bytes. Raises :class:`Refusal`."""
        largest = self.sizes.largest(scope["path"], size)
        if size > largest:
            raise Refusal(
                413,
                "too-large",
                "Request body too large",
                f"No body may be larger than {largest} bytes here.",
            )
        return largest

    async def _collect(self, scope: Scope, reading: _Reading, body: Body, receive: Receive) -> None:
        while True:
            try:
                message = await receive()
            except Exception as error:  # the server says in many ways that the bytes were no body
                raise self._broken() from error
            # Also where the size of a chunk is none; who is gone does not hear the answer.
            if message["type"] == "http.disconnect":
                raise self._broken()
            if chunk := message.get("body", b""):
                reading.progressed = asyncio.get_running_loop().time()
                if body.size + len(chunk) > reading.largest:
                    reading.largest = self._largest(scope, body.size + len(chunk))
                body.add(chunk)
            if not message.get("more_body", False):
                body.file.seek(0)
                return

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


def announced_size(scope: Scope) -> int:
    """The body's Content-Length, 0 without one."""
    return next((int(v) for name, v in scope["headers"] if name == b"content-length"), 0)
