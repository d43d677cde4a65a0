"""The messages of a batch: received onto disk and found there, before the first one is stored.

So a body that is too large, cut off or no array leaves nothing behind, a slow sender holds no
database connection, and memory stays flat: what is kept are the places of at most 10,000 messages.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Protocol

from django.conf import settings

from monitoring.api.bodies import PIECE, BodyStream
from tenants import problems

_IN_MEMORY = 1024 * 1024
_SPACES = b" \t\r\n"

Place = tuple[int, int]
"""First byte of a message and the one after its last."""


class Messages:
    """The messages of one batch body; a context manager, because it owns a file."""

    def __init__(self, stream: BodyStream, *, is_array: bool) -> None:
        self._skips_empty = not is_array
        self._places: list[Place] = []
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        try:
            self._receive(stream, _ArrayFinder() if is_array else _LineFinder())
        except BaseException:  # whatever ends this, the spooled file must not stay open
            self._file.close()
            raise

    def _receive(self, stream: BodyStream, finder: _Finder) -> None:
        while piece := stream.read(PIECE):
            self._file.write(piece)
            self._places += finder.feed(piece)
            self._demand_few()
        self._places += finder.finish()
        self._demand_few()

    def _demand_few(self) -> None:
        most = settings.LIMITS.batch_lines
        if len(self._places) > most:
            raise problems.too_large(
                f"A batch may have at most {most:,} lines. Nothing was stored."
            )

    def __enter__(self) -> Messages:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        """How many there are, empty lines among them."""
        return len(self._places)

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        """Number (from 1) and text of each message; None for one longer than a body may be.

        Empty lines are left out, but counted.
        """
        longest = settings.LIMITS.body_bytes
        for number, (start, end) in enumerate(self._places, 1):
            if end - start > longest:
                yield number, None
                continue
            self._file.seek(start)
            message = self._file.read(end - start).strip(_SPACES)
            if message or not self._skips_empty:
                yield number, message


class _Finder(Protocol):
    """Finds where messages begin and end in a body that comes in pieces."""

    def feed(self, piece: bytes) -> list[Place]:
        """Places of the messages that end in this piece."""

    def finish(self) -> list[Place]:
        """Places of what only the end of the body ends. Raises 400 when it may not end here."""


class _LineFinder:
    """Messages are lines."""

    def __init__(self) -> None:
        self._start = 0
        self._seen = 0

    def feed(self, piece: bytes) -> list[Place]:
        places = []
        position = piece.find(b"\n")
        while position >= 0:
            places.append((self._start, self._seen + position))
            self._start = self._seen + position + 1
            position = piece.find(b"\n", position + 1)
        self._seen += len(piece)
        return places

    def finish(self) -> list[Place]:
        return [(self._start, self._seen)] if self._start < self._seen else []


_OUTSIDE = re.compile(rb'[^"\[\]{},]*+')
_INSIDE = re.compile(rb'[^"\[\]{}]*+')
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*+")
_QUOTE, _COMMA, _OPEN, _CLOSE = b'",[]'


class _ArrayFinder:
    """Messages are the items of one JSON array.

    Only strings and brackets are looked at; whether an item is JSON is for its reader to say.
    `_depth` counts open brackets: 0 before and after the array, 1 between its items.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._after_backslash = False
        self._item: int | None = None
        self._is_first = True
        self._is_over = False
        self._seen = 0
        self._places: list[Place] = []

    def feed(self, piece: bytes) -> list[Place]:
        position = 0
        if self._after_backslash:
            self._after_backslash = False
            position = 1
        while position < len(piece):
            if self._in_string:
                position = self._string(piece, position)
            elif self._depth == 0:
                position = self._around(piece, position)
            elif self._depth == 1:
                position = self._between(piece, position)
            else:
                position = self._nested(piece, position)
        self._seen += len(piece)
        places, self._places = self._places, []
        return places

    def finish(self) -> list[Place]:
        if not self._is_over:
            raise problems.bad_request("The body is not a whole JSON array. Nothing was stored.")
        return []

    def _string(self, piece: bytes, position: int) -> int:
        end = _end(_IN_STRING, piece, position)
        if end < len(piece):
            self._in_string = piece[end] != _QUOTE
            # Else a backslash is the last byte: what it escapes comes with the next piece.
            self._after_backslash = self._in_string
        return end + 1

    def _around(self, piece: bytes, position: int) -> int:
        position = _end(_SPACE, piece, position)
        if position < len(piece):
            if self._is_over or piece[position] != _OPEN:
                raise problems.bad_request(
                    "The body must be one JSON array of messages, "
                    "or lines with Content-Type: application/x-ndjson."
                )
            self._depth = 1
        return position + 1

    def _between(self, piece: bytes, position: int) -> int:
        if self._item is None:
            position = _end(_SPACE, piece, position)
            if position == len(piece):
                return position
            if not (self._is_first and piece[position] == _CLOSE):
                self._item = self._seen + position
        position = _end(_OUTSIDE, piece, position)
        if position < len(piece):
            self._mark(piece[position], self._seen + position)
        return position + 1

    def _mark(self, character: int, place: int) -> None:
        if character in (_COMMA, _CLOSE):
            if self._item is not None:
                self._places.append((self._item, place))
            self._item = None
            self._is_first = False
            if character == _CLOSE:
                self._depth, self._is_over = 0, True
        elif character == _QUOTE:
            self._in_string = True
        elif character in b"[{":
            self._depth += 1

    def _nested(self, piece: bytes, position: int) -> int:
        position = _end(_INSIDE, piece, position)
        if position < len(piece):
            if piece[position] == _QUOTE:
                self._in_string = True
            else:
                self._depth += 1 if piece[position] in b"[{" else -1
        return position + 1


def _end(pattern: re.Pattern[bytes], piece: bytes, position: int) -> int:
    """Where what the pattern matches from `position` on ends (it matches nothing as well)."""
    match = pattern.match(piece, position)
    return position if match is None else match.end()
