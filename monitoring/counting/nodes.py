"""What a delta says about nodes: the format in which it is stored."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class NodeDelta(msgspec.Struct, array_like=True):
    """Changes of one node's counters; `counts` by Status, `slots` of a `histogram.Histogram`."""

    counts: list[int]
    duration_sum: int = 0
    duration_count: int = 0
    slots: dict[int, int] = {}


_decoder = msgspec.json.Decoder(dict[str, NodeDelta])


def pack_node_deltas(nodes: Mapping[str, NodeDelta]) -> bytes:
    """JSON {node id: [counts by Status, duration sum, duration count, {slot: count}]}."""
    return msgspec.json.encode(nodes)


def unpack_node_deltas(packed: bytes) -> dict[str, NodeDelta]:
    """Node id → its changes, as `pack_node_deltas` wrote them."""
    return _decoder.decode(packed)
