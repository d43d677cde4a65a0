"""What senders heard of each execution, written down on their side: only a 2xx acknowledges."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.config.trees import PATIENCE, wait_for
from tests.races.senders import Connection, Crowd, Told

SENDERS = 32
IN_A_BATCH = 20
# Who heard nothing, or 5xx, rests so long. (A client would rest as long as Retry-After says.)
PAUSE_SECONDS = 0.1
NODES = [{"nodeId": "a", "status": "success", "durationMs": 7}]


@dataclass(frozen=True, slots=True)
class Call:
    """One post; `status` 0: no answer. Times are those of `time.monotonic`."""

    begun: float
    ended: float
    status: int
    retry_after: str

    @property
    def seconds(self) -> float:
        """From the first byte sent to the last byte heard."""
        return self.ended - self.begun


@dataclass(eq=False)
class Ledger:
    """Sender's ids by what was heard of them.

    Each sender rests so many seconds between two calls, every fourth sends batches. With `some_repeat`
    more than half of them repeat what they know
    nothing of until they are answered, as a client does; the others never do.
    """

    rest: float = 0.0
    some_repeat: bool = True
    acknowledged: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def cut_off(self) -> int:
        """Calls that had no answer."""
        return sum(call.status == 0 for call in self.calls)

    def send(self, sender: int, connection: Connection) -> None:
        """Send one call after the other until told to stop."""
        size = IN_A_BATCH if sender % 4 == 0 else 1
        repeats = self.some_repeat and (sender % 2 == 1 or sender % 8 == 4)
        while not self.stop.is_set():
            messages = [self._message(sender) for _ in range(size)]
            while not self._tell(connection, messages):
                self.stop.wait(PAUSE_SECONDS)
                if not repeats or self.stop.is_set():
                    break
            self.stop.wait(self.rest)

    def goes_on(self, number: int, seconds: float = 0.0, patience: float = PATIENCE) -> None:
        """Wait until so much time has passed and so many more were acknowledged."""
        wanted, end = len(self.acknowledged) + number, time.monotonic() + seconds
        wait_for(
            lambda: len(self.acknowledged) >= wanted and time.monotonic() >= end,
            patience,
            "posts acknowledged",
        )

    def _message(self, sender: int) -> dict[str, Any]:
        execution = f"run-{sender}-{next(self._numbers)}"
        return {
            "id": execution,
            "workflowId": f"w-{sender % 4}",
            "status": "success",
            "nodeExecutions": NODES,
        }

    def _tell(self, connection: Connection, messages: list[dict[str, Any]]) -> bool:
        """Send; note what is known now of each. Whether that is all there is to know."""
        ids = {message["id"] for message in messages}
        self.unknown.update(ids)
        begun = time.monotonic()
        if len(messages) == 1:
            told = connection.call("POST", "/api/executions", messages[0])
        else:
            told = connection.call("POST", "/api/executions/batch", messages)
        self.calls.append(Call(begun, time.monotonic(), told.status, told.retry_after))
        acknowledged, refused = _known(ids, told)
        self.acknowledged.update(acknowledged)
        self.refused.update(refused)
        self.unknown.difference_update(acknowledged, refused)
        return acknowledged | refused == ids


def _known(ids: set[str], told: Told) -> tuple[set[str], set[str]]:
    """Of which ids an answer says that they are stored, and that they are not."""
    if told.status in (200, 201):
        if "results" not in told.body:
            return ids, set()
        lines = {line["external_id"]: line["result"] for line in told.body["results"]}
        stored = {each for each, result in lines.items() if result not in ("rejected", "failed")}
        return stored, {each for each, result in lines.items() if result == "rejected"}
    return set(), ids if 400 <= told.status < 500 else set()


@contextlib.contextmanager
def load(ledger: Ledger, port: int, token: str, senders: int = SENDERS) -> Iterator[Ledger]:
    """Let senders send meanwhile."""
    crowd = Crowd(port, token, senders)
    sending = threading.Thread(target=crowd.each_does, args=[ledger.send])
    sending.start()
    try:
        yield ledger
    finally:
        ledger.stop.set()
        sending.join()
    assert not crowd.errors, crowd.errors
