"""Request bodies: counted while they are read and unpacked, so that no bomb is ever held whole.

413 is for bytes, as sent and unpacked; 415 for a content type or encoding that isn't known; 400 for
a body that can't be unpacked or ends too early.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol

import zstandard
from django.http import HttpRequest

from tenants import problems
from tenants.problems import Problem

PIECE = 64 * 1024
JSON = "application/json"
NDJSON = "application/x-ndjson"

# RFC 8878 asks decoders for 8 MB at least and lets them refuse more.
_ZSTD_WINDOW = 8 * 1024 * 1024
# A block of 4 bytes may unpack to 128 KB: this many bytes in give at most 8 MB out.
_ZSTD_PIECE = 256
_MOST_PARTS = 10_000


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def demand_content_type(request: HttpRequest, *allowed: str) -> str:
    """The content type of a request; raises 415 for any other than `allowed`, or not UTF-8."""
    content_type = (request.content_type or "").lower()
    if content_type not in allowed:
        raise problems.unsupported_media_type(
            f"Send Content-Type: {' or '.join(allowed)}, not “{content_type[:100]}”."
        )
    charset = (request.content_params or {}).get("charset", "utf-8").lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise problems.unsupported_media_type("JSON is sent in UTF-8.")
    return content_type


def read_body(request: HttpRequest, limit: int) -> bytes:
    """The whole body, unpacked. Raises 400, 413 or 415."""
    stream = BodyStream(request, limit)
    pieces = []
    while piece := stream.read(stream.likely_size):
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class BodyStream:
    """A body that is unpacked as it is read; at most `limit` bytes, as sent and unpacked."""

    def __init__(self, request: HttpRequest, limit: int) -> None:
        encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
        self._sent = _Sent(request, limit)
        self._limit = limit
        self._count = 0
        self._source = _unpacked(encoding, self._sent)
        # What isn't packed comes in one piece.
        self.likely_size = (self._sent.declared or 1) if self._source is self._sent else PIECE

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        try:
            piece = self._source.read(size)
        except (zlib.error, zstandard.ZstdError) as error:
            raise problems.bad_request(f"The body could not be unpacked: {error}.") from None
        self._count += len(piece)
        if self._count > self._limit:
            raise too_large(self._limit)
        return piece


class _Sent:
    """The body as it was sent, counted."""

    def __init__(self, request: HttpRequest, limit: int) -> None:
        self._request = request
        self._limit = limit
        self._count = 0
        self.declared = _declared_length(request)
        if self.declared > limit:
            raise too_large(limit)

    def read(self, size: int) -> bytes:
        piece: bytes = self._request.read(size)
        self._count += len(piece)
        if not piece and self._count < self.declared:
            raise problems.bad_request("The body ended before its Content-Length.")
        return piece


def too_large(limit: int) -> Problem:
    """413 with the limit."""
    return problems.too_large(f"A body may have {limit:,} bytes here, also after unpacking.")


def _declared_length(request: HttpRequest) -> int:
    """The Content-Length; Django reads no more than that, and nothing without one."""
    text = request.META.get("CONTENT_LENGTH") or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _unpacked(encoding: str, sent: _Sent) -> _Readable:
    if encoding in ("", "identity"):
        return sent
    make = _DECODERS.get(encoding)
    if make is None:
        raise problems.unsupported_media_type(
            "Content-Encoding may be gzip, zstd or identity, one of them."
        )
    return make(sent)


class _Gzip:
    """Unpacks gzip, also when it consists of several members."""

    def __init__(self, source: _Readable) -> None:
        self._source = source
        self._decoder = _gzip_decoder()
        self._packed = b""
        self._members = 1

    def read(self, size: int) -> bytes:
        while True:
            if not self._packed:
                self._packed = self._source.read(PIECE)
                if not self._packed:
                    return self._end()
            if self._decoder.eof:
                self._next_member()
                continue
            piece: bytes = self._decoder.decompress(self._packed, size)
            self._packed = self._decoder.unused_data or self._decoder.unconsumed_tail
            if piece:
                return piece

    def _next_member(self) -> None:
        # Padding by zeros is allowed after a member.
        self._packed = self._packed.lstrip(b"\0")
        if self._packed:
            self._members = _one_more(self._members)
            self._decoder = _gzip_decoder()

    def _end(self) -> bytes:
        # What a full buffer held back comes out without new input.
        piece: bytes = b"" if self._decoder.eof else self._decoder.flush()
        if not self._decoder.eof:
            raise _broken("it ends too early")
        return piece


def _gzip_decoder() -> Any:
    return zlib.decompressobj(wbits=31)


class _Zstd:
    """Unpacks zstd frames, in pieces small enough that none unpacks to much."""

    def __init__(self, source: _Readable) -> None:
        self._source = source
        self._decoder = _zstd_decoder()
        self._packed = memoryview(b"")
        self._ready = memoryview(b"")
        self._frames = 1

    def read(self, size: int) -> bytes:
        while not self._ready:
            if not self._packed:
                self._packed = memoryview(self._source.read(PIECE))
                if not self._packed:
                    return self._end()
            if self._decoder.eof:
                self._frames = _one_more(self._frames)
                self._decoder = _zstd_decoder()
            piece = self._packed[:_ZSTD_PIECE]
            self._ready = memoryview(self._decoder.decompress(piece))
            used = len(piece) - len(self._decoder.unused_data)
            self._packed = self._packed[used:]
        ready, self._ready = self._ready[:size], self._ready[size:]
        return bytes(ready)

    def _end(self) -> bytes:
        if not self._decoder.eof:
            raise _broken("it ends too early")
        return b""


def _zstd_decoder() -> Any:
    return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()


def _one_more(parts: int) -> int:
    """Count a further member or frame: millions of empty ones would cost time for nothing."""
    if parts >= _MOST_PARTS:
        raise _broken(f"it has more than {_MOST_PARTS:,} parts")
    return parts + 1


def _broken(why: str) -> Problem:
    return problems.bad_request(f"The body could not be unpacked: {why}.")


_DECODERS: dict[str, Callable[[_Readable], _Readable]] = {
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "zstd": _Zstd,
}
ENCODINGS = ("gzip", "zstd")
"""Content-Encodings that bodies may have, by their usual names."""
