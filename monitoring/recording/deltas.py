"""What a stored chunk changes in the counters: one signed delta for each (workflow, bucket)."""

from __future__ import annotations

import datetime as dt

from monitoring.counting.histogram import Histogram, slot_of
from monitoring.counting.nodes import NodeDelta, pack_node_deltas
from monitoring.recording.merge import Contribution
from monitoring.words import RATED, ErrorClass, Status

_STATUSES = len(Status)
_CLASSES = len(ErrorClass)


class Delta:
    """Changes of one workflow's counters in one bucket."""

    __slots__ = (
        "counts",
        "duration_counts",
        "duration_sums",
        "error_classes",
        "histogram",
        "last_executed_at",
        "name",
        "name_key",
        "nodes",
    )

    def __init__(self) -> None:
        self.counts = [0] * _STATUSES
        self.duration_sums = [0] * _STATUSES
        self.duration_counts = [0] * _STATUSES
        self.error_classes = [0] * _CLASSES
        self.histogram = Histogram()
        self.nodes: dict[str, NodeDelta] = {}
        self.name: str | None = None
        self.name_key: bytes = b""
        self.last_executed_at: dt.datetime | None = None

    def count(self, contribution: Contribution, sign: int) -> None:
        """Add (+1) or take back (-1) what an execution contributes."""
        status, duration = contribution.status, contribution.duration_ms
        self.counts[status] += sign
        if contribution.error_class is not None:
            self.error_classes[contribution.error_class] += sign
        if duration is not None:
            self.duration_sums[status] += sign * duration
            self.duration_counts[status] += sign
            if status in RATED:
                self.histogram.add(duration, sign)
        for node_id, node_status, node_duration in contribution.nodes:
            self.count_node(node_id, node_status, node_duration, sign)

    def count_node(self, node_id: str, status: Status, duration: int | None, sign: int) -> None:
        """Add or take back one run of a node; duration in ms."""
        node = self.nodes.get(node_id)
        if node is None:
            node = self.nodes[node_id] = NodeDelta([0] * _STATUSES, slots={})
        node.counts[status] += sign
        if duration is not None:
            node.duration_sum += sign * duration
            node.duration_count += sign
            slot = slot_of(duration)
            node.slots[slot] = node.slots.get(slot, 0) + sign

    def rename(self, name: str, key: bytes) -> None:
        """Remember the workflow's name when its message is the newest that told one."""
        if key > self.name_key:
            self.name, self.name_key = name, key

    def executed_at(self, at: dt.datetime) -> None:
        self.last_executed_at = (
            at if self.last_executed_at is None else max(at, self.last_executed_at)
        )

    def pack_nodes(self) -> bytes:
        return pack_node_deltas(self.nodes)
