"""Which message wins: order keys, and for each stored field the key of the message that set it.

A message's key compares as bytes: unfinished before finished, then
the latest of its times, then a rank of its status, then the hash of its body. A field is taken from
the message with the greatest key, a whole value beating a truncated one; absence never erases. That
makes merging a maximum for each field: commutative, associative, idempotent, so the order in which
messages arrive does not matter.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import struct
from collections.abc import Iterable

from monitoring.ids import EPOCH
from monitoring.words import STATUS_RANK, Status

KEY_BYTES = 18
_KEY = struct.Struct(">BQB8s")
_ENTRY = struct.Struct(f">B{KEY_BYTES}sI")
_MICROSECOND = dt.timedelta(microseconds=1)
NO_KEY = b""


def body_hash(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=8).digest()


def order_key(status: Status, times: Iterable[dt.datetime | None], digest: bytes) -> bytes:
    """The key of a message: 18 bytes that compare as the message's place in the order.

    `times` are its completedAt, updatedAt and startedAt as far as known, all after 1970.
    """
    known = [moment for moment in times if moment is not None]
    stamp = (max(known) - EPOCH) // _MICROSECOND if known else 0
    return _KEY.pack(status.is_finished, max(stamp, 0), STATUS_RANK[status], digest)


class FieldKeys:
    """For each field number (0–31) of a row: was its value whole, and which message set it.

    Packed: 23 bytes for each distinct (whole, key), with the bitmap of the fields it set; a row
    that came in one message takes 23 bytes.
    """

    __slots__ = ("_of_field",)

    def __init__(self, of_field: dict[int, tuple[bool, bytes]]) -> None:
        self._of_field = of_field

    @classmethod
    def of_message(cls, key: bytes, fields: Iterable[int], truncated: int = 0) -> FieldKeys:
        """Keys of a row whose `fields` all come from one message; `truncated` is a bitmap."""
        return cls({field: (not truncated >> field & 1, key) for field in fields})

    @classmethod
    def unpack(cls, packed: bytes) -> FieldKeys:
        of_field: dict[int, tuple[bool, bytes]] = {}
        for whole, key, bitmap in _ENTRY.iter_unpack(packed):
            while bitmap:
                lowest = bitmap & -bitmap
                of_field[lowest.bit_length() - 1] = (bool(whole), key)
                bitmap ^= lowest
        return cls(of_field)

    def pack(self) -> bytes:
        bitmaps: dict[tuple[bool, bytes], int] = {}
        for field, key in self._of_field.items():
            bitmaps[key] = bitmaps.get(key, 0) | 1 << field
        return b"".join(
            _ENTRY.pack(whole, key, bitmaps[whole, key]) for whole, key in sorted(bitmaps)
        )

    def __contains__(self, field: int) -> bool:
        return field in self._of_field

    def take(self, newer: FieldKeys) -> list[int]:
        """Merge another message's keys in; return the fields whose value it wins."""
        won = [
            field
            for field, key in newer._of_field.items()
            if key > self._of_field.get(field, (False, NO_KEY))
        ]
        for field in won:
            self._of_field[field] = newer._of_field[field]
        return won


def pack_single(key: bytes, present: int, truncated: int) -> bytes:
    """`FieldKeys.of_message(…).pack()` for bitmaps: the hot path of a first message."""
    if not truncated:
        return _ENTRY.pack(True, key, present)
    return b"".join(
        _ENTRY.pack(whole, key, bitmap)
        for whole, bitmap in ((False, truncated), (True, present & ~truncated))
        if bitmap
    )
