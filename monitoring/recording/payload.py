"""What is read for one execution at a time, in one compressed value beside the row.

Layout: zstd over JSON {"trigger", "raw", "result", "stack", "details", "nodes": {"<run>:<node id>":
{"i": input, "o": output, "s": stack, "d": error details, "x": other fields}}}. One value for all
nodes compresses better than one each and costs one write.
"""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import zstandard

_EMPTY = msgspec.Raw(b"null")
_LEVEL = 3
# Messages for one execution add up; this is what they may weigh together, unpacked.
MAX_BYTES = 64 * 1024 * 1024


class ExecutionTooLarge(ValueError):
    """All messages of one execution together bring more than one execution may hold."""


class DamagedPayload(ValueError):
    """The stored bytes are not a payload any more."""


class NodePayload(msgspec.Struct, omit_defaults=True, gc=False):
    input: msgspec.Raw = msgspec.field(default=_EMPTY, name="i")
    output: msgspec.Raw = msgspec.field(default=_EMPTY, name="o")
    error_stack: str | None = msgspec.field(default=None, name="s")
    error_details: msgspec.Raw = msgspec.field(default=_EMPTY, name="d")
    extra: msgspec.Raw = msgspec.field(default=_EMPTY, name="x")


class Payload(msgspec.Struct, omit_defaults=True, gc=False):
    trigger_data: msgspec.Raw = msgspec.field(default=_EMPTY, name="trigger")
    raw_log: msgspec.Raw = msgspec.field(default=_EMPTY, name="raw")
    result: msgspec.Raw = _EMPTY
    error_stack: str | None = msgspec.field(default=None, name="stack")
    error_details: msgspec.Raw = msgspec.field(default=_EMPTY, name="details")
    nodes: dict[str, NodePayload] = {}

    def node(self, node_id: str, run_index: int) -> NodePayload:
        """The node's payload, an empty one when it has none."""
        return self.nodes.get(node_key(node_id, run_index)) or NodePayload()


def node_key(node_id: str, run_index: int) -> str:
    return f"{run_index}:{node_id}"


def json_of(part: msgspec.Raw) -> bytes | None:
    """The JSON text of a part of a payload, None when it was not sent."""
    text = bytes(part)
    return None if text == b"null" else text


def value_of(part: msgspec.Raw) -> Any:
    """The decoded value of a part of a payload, None when it was not sent."""
    return msgspec.json.decode(part)


class _Codecs(threading.local):
    """Compressors may not be shared by threads that use them at the same time."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress
        self.encode = msgspec.json.Encoder().encode
        self.decode = msgspec.json.Decoder(Payload).decode


_codecs = _Codecs()
_NOTHING = b"{}"


def pack(payload: Payload) -> bytes | None:
    """Compressed bytes; None when there is nothing to keep. Raises ExecutionTooLarge."""
    text = _codecs.encode(payload)
    if len(text) > MAX_BYTES:
        raise ExecutionTooLarge(
            f"All data of this execution together is larger than {MAX_BYTES // 1024**2} MB."
        )
    return None if text == _NOTHING else _codecs.compress(text)


def unpack(packed: bytes | memoryview | None) -> Payload:
    """The payload of a stored row. Raises DamagedPayload."""
    if packed is None:
        return Payload()
    try:
        return _codecs.decode(_codecs.decompress(packed, max_output_size=MAX_BYTES))
    except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError, MemoryError) as error:
        # MemoryError: damaged bytes may claim any size.
        raise DamagedPayload(str(error)) from error


HEAD_BYTES = 18
"""The longest head of a frame, in which `unpacked_size` finds its size."""


def unpacked_size(head: bytes) -> int:
    """Bytes that a packed payload with this head unpacks to; 0 when the head is damaged."""
    try:
        return max(zstandard.frame_content_size(head), 0)
    except zstandard.ZstdError:
        return 0
