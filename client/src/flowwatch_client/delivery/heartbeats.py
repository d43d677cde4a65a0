"""Signs of life of executions that run long: without them the server marks a running one lost contact."""

from __future__ import annotations

import json
import time
import urllib.parse

from flowwatch_client.delivery.http import Answer, Server, Unanswered

CAPABILITY = "ingest.heartbeat"
_ASK_AGAIN_SECONDS = 3_600.0
_AFTER_TROUBLE_SECONDS = 60.0


class Heartbeats:
    """Which executions of this process run, and when each has to say so. Threads may call all of it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._every: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._supported = False
        self._ask_at = 0.0

    def started(self, execution_id: str, heartbeat_seconds: float) -> None:
        self._every[execution_id] = heartbeat_seconds
        self._due[execution_id] = time.monotonic() + heartbeat_seconds

    def ended(self, execution_id: str) -> None:
        self._every.pop(execution_id, None)
        self._due.pop(execution_id, None)

    def due_in(self) -> float | None:
        """Seconds until the next one; None when nothing runs."""
        due = [*self._due.values()]
        return max(min(due) - time.monotonic(), 0.0) if due else None

    def send_due(self) -> None:
        """Send those that are due. What can't be sent is left out: the next one says the same."""
        now = time.monotonic()
        due = [each for each, at in [*self._due.items()] if at <= now]
        for execution_id in due:
            every = self._every.get(execution_id)
            if every is not None:
                self._due[execution_id] = now + every
        if not due or not self._is_supported(now):
            return
        for execution_id in due:
            path = f"/api/executions/{urllib.parse.quote(execution_id, safe='')}/heartbeat"
            if execution_id in self._every and self._call("POST", path) is None:
                self._ask_at = now + _AFTER_TROUBLE_SECONDS
                self._supported = False
                return

    def _is_supported(self, now: float) -> bool:
        if now >= self._ask_at:
            answer = self._call("GET", "/api/limits")
            self._supported = answer is not None and CAPABILITY in _capabilities(answer)
            found = answer is not None and answer.status == 200
            self._ask_at = now + (_ASK_AGAIN_SECONDS if found else _AFTER_TROUBLE_SECONDS)
        return self._supported

    def _call(self, method: str, path: str) -> Answer | None:
        try:
            if method == "GET":
                return self._server.get(path)
            return self._server.post(path, b"{}", {"Content-Type": "application/json"})
        except Unanswered:
            return None


def _capabilities(answer: Answer) -> list[object]:
    try:
        document = json.loads(answer.body) if answer.status == 200 else None
    except (ValueError, RecursionError):
        return []
    offered = document.get("capabilities") if isinstance(document, dict) else None
    return offered if isinstance(offered, list) else []
