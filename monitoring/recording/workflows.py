"""Finds the workflows of records, making those that are seen for the first time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from monitoring.recording import tables
from monitoring.recording.record import ExecutionRecord

CACHE_SECONDS = 60.0
_CACHE_SIZE = 50_000
WorkflowPlace = tuple[int, str]
"""(environment id, external id)."""


class _Cache:
    """Ids and name keys of workflows, by place; ids never change, name keys may be a minute old."""

    def __init__(self) -> None:
        self._entries: dict[WorkflowPlace, tuple[int, bytes, float]] = {}
        self._lock = threading.Lock()

    def get(self, place: WorkflowPlace) -> tuple[int, bytes] | None:
        entry = self._entries.get(place)
        if entry is None or entry[2] < time.monotonic():
            return None
        return entry[0], entry[1]

    def put(self, found: dict[WorkflowPlace, tuple[int, bytes]]) -> None:
        until = time.monotonic() + CACHE_SECONDS
        with self._lock:
            if len(self._entries) + len(found) > _CACHE_SIZE:
                self._entries.clear()
            for place, (workflow_id, name_key) in found.items():
                self._entries[place] = (workflow_id, name_key, until)


_cache = _Cache()


class Workflows:
    """The workflows of one chunk. What it looked up or made may be remembered once it is committed."""

    def __init__(self) -> None:
        self._found: dict[WorkflowPlace, tuple[int, bytes]] = {}
        self._name_keys: dict[int, bytes] = {}

    def find_or_make(self, records: Sequence[ExecutionRecord]) -> list[int]:
        """Ids of the records' workflows, in order."""
        places = [(record.environment_id, record.workflow_external_id) for record in records]
        known: dict[WorkflowPlace, tuple[int, bytes]] = {}
        missing: dict[WorkflowPlace, ExecutionRecord] = {}
        for place, record in zip(places, records, strict=True):
            if place in known:
                continue
            cached = _cache.get(place)
            if cached is not None:
                known[place] = cached
                continue
            best = missing.get(place)
            if best is None or _name_order(record) > _name_order(best):
                missing[place] = record
        if missing:
            self._found = tables.find_or_make_workflows(
                [
                    (
                        record.tenant_id,
                        *place,
                        record.workflow_name or record.workflow_external_id,
                        record.order_key if record.workflow_name else b"",
                    )
                    for place, record in sorted(missing.items())
                ]
            )
            known |= self._found
        self._name_keys = dict(known.values())
        return [known[place][0] for place in places]

    def knows_newer_name(self, workflow_id: int, key: bytes) -> bool:
        """Whether the workflow's name comes from a message at least as new as `key`."""
        return self._name_keys[workflow_id] >= key

    def remember(self) -> None:
        """Keep what this chunk looked up: call it after the commit."""
        _cache.put(self._found)


def _name_order(record: ExecutionRecord) -> bytes:
    return record.order_key if record.workflow_name else b""
