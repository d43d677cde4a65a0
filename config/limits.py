"""What one message may weigh; how many downloads there may be, and how slowly each may be taken."""

import threading
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tenants.streams import StreamOwner


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds at the door, as ``GET /api/limits`` shows them.

    Bytes are counted after decompression, text in characters.
    """

    body_bytes: int = 5 * 1024 * 1024
    batch_bytes: int = 64 * 1024 * 1024
    batch_lines: int = 10_000
    depth: int = 64
    nodes: int = 5_000
    text: int = 255
    error_message_bytes: int = 64 * 1024
    stack_bytes: int = 256 * 1024
    node_data_bytes: int = 1024 * 1024
    page_size_default: int = 50
    page_size_max: int = 500
    offset_max: int = 10_000


STREAMS_OF_ONE = 2
"""Downloads that one person or token may take at once from one web process."""


@dataclass(frozen=True, slots=True)
class NoPlace(Exception):
    """A stream has to wait; `whose` says for what: "one", "tenant" or "all"."""

    whose: str


class StreamPlaces:
    """The places for streamed answers of one web process: half of its threads, each held by one.

    A person or token takes two of them at most and a tenant half, so that nobody is kept out by others.
    """

    def __init__(self, threads: int) -> None:
        self._most = max(1, threads // 2)
        self._lock = threading.Lock()
        self._taken: Counter[Hashable] = Counter()

    @contextmanager
    def one_for(self, owner: StreamOwner | None) -> Iterator[None]:
        """Hold a place. Raises NoPlace at once when none is free for this owner."""
        bounds = self._bounds(owner)
        keys = [key for _, key, _ in bounds]
        with self._lock:
            for whose, key, most in bounds:
                if self._taken[key] >= most:
                    raise NoPlace(whose)
            self._taken.update(keys)
        try:
            yield
        finally:
            with self._lock:
                self._taken -= Counter(keys)

    def _bounds(self, owner: StreamOwner | None) -> list[tuple[str, Hashable, int]]:
        """What is counted for an owner: whose it is, its key, and how many at most."""
        all_of_them: list[tuple[str, Hashable, int]] = [("all", "all", self._most)]
        if owner is None:
            return all_of_them
        half = max(1, self._most // 2)
        of_one = ("one", ("one", owner.who), min(STREAMS_OF_ONE, half))
        of_tenant = ("tenant", ("tenant", owner.tenant), half)
        return [of_one, of_tenant, *all_of_them]


@dataclass(frozen=True, slots=True)
class DownloadPace:
    """How fast a client has to take a streamed answer, which holds a thread until it has.

    Only the time counts in which we wait for the client. In each window of so many seconds it takes
    the least rate on average, else it is cut; so the first window is its grace.
    """

    bytes_per_second: int = 1024
    window_seconds: float = 30.0
