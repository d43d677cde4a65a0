"""A node as buffered mode keeps it: what can wait for the background is done when it is committed."""

from __future__ import annotations

import dataclasses

from flowwatch_client import values
from flowwatch_client.capture.clock import Clock, milliseconds
from flowwatch_client.rows import NodeRow
from flowwatch_client.secret_rules import Scrubber


@dataclasses.dataclass
class UnfinishedNode(NodeRow):
    """Its values are snapshots and its times numbers until `complete`.

    Both may be called at any time by several threads: a value is put in its place before its snapshot
    goes, and never unscrubbed.
    """

    clock: Clock | None = None
    started: float | None = None
    ended: float | None = None
    input_snapshot: bytes | None = None
    output_snapshot: bytes | None = None

    @property
    def size(self) -> int:
        return super().size + len(self.input_snapshot or b"") + len(self.output_snapshot or b"")

    def complete(self, scrubber: Scrubber) -> None:
        """Make the row what the log takes."""
        if self.clock is not None and self.started is not None:
            self.started_at = self.clock.text(self.started)
            if self.ended is not None:
                self.completed_at = self.clock.text(self.ended)
                self.duration_ms = milliseconds(self.started, self.ended)
        snapshot = self.input_snapshot
        if snapshot is not None:
            self.input = values.json_of_snapshot(snapshot, scrubber)
            self.input_snapshot = None
        snapshot = self.output_snapshot
        if snapshot is not None:
            self.output = values.json_of_snapshot(snapshot, scrubber)
            self.output_snapshot = None
