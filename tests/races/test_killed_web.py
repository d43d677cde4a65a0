"""kill -9 of web processes under load: what was acknowledged is stored, once, and counted."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tests.config.servers import WebServer
from tests.config.trees import PATIENCE, wait_for
from tests.races.conftest import Stored
from tests.races.mutants.faults import LATE_SECONDS
from tests.races.senders import Connection, Crowd

KILLS, SENDERS = 12, 16
PAUSE_SECONDS, LOAD = 0.9, 20


class Ledger:
    """What senders heard of each id, kept on their side: only a 2xx acknowledges."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.unknown: set[str] = set()
        self.stop = threading.Event()
        self._numbers = count()

    def send(self, sender: int, connection: Connection) -> None:
        """Send one execution after the other until told to stop."""
        while not self.stop.is_set():
            execution = f"run-{sender}-{next(self._numbers)}"
            message = {"id": execution, "workflowId": f"w-{sender % 4}", "status": "success"}
            told = connection.call("POST", "/api/executions", message)
            (self.acknowledged if told.status in (200, 201) else self.unknown).add(execution)
            if told.status == 0:
                time.sleep(0.02)  # the listener that was killed takes nothing for a moment

    def goes_on(self) -> None:
        """Wait until senders were busy for a while, and heard enough to make it a test."""
        before = len(self.acknowledged)
        time.sleep(PAUSE_SECONDS)
        wait_for(lambda: len(self.acknowledged) > before + LOAD, PATIENCE, "posts acknowledged")


def _web_processes(server: WebServer) -> list[int]:
    """The processes that answer: the server's children, the longest living first."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"config.web" in _command_line(child)]


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _load_and_kill(server: WebServer, stored: Stored, kills: int) -> Ledger:
    ledger = Ledger()
    crowd = threading.Thread(
        target=Crowd(server.port, stored.token, SENDERS).each_does, args=[ledger.send]
    )
    crowd.start()
    try:
        for victim in _victims(server, ledger, kills):
            os.kill(victim, signal.SIGKILL)
        ledger.goes_on()
    finally:
        ledger.stop.set()
        crowd.join()
    return ledger


def _victims(server: WebServer, ledger: Ledger, kills: int) -> Iterator[int]:
    """The longest living web process, each time when both are there and work."""
    for _ in range(kills):
        wait_for(lambda: len(_web_processes(server)) == 2, PATIENCE, "both web processes are back")
        ledger.goes_on()
        yield _web_processes(server)[0]


def test_nothing_that_was_acknowledged_is_lost_or_doubled(
    server: WebServer, stored: Stored
) -> None:
    ledger = _load_and_kill(server, stored, KILLS)
    found = stored.sender_ids()
    assert len(ledger.unknown) >= KILLS, "the kills hit nobody"
    assert ledger.acknowledged - found.keys() == set(), "acknowledged and lost"
    assert found.keys() - ledger.acknowledged - ledger.unknown == set(), "stored and never sent"
    assert set(found.values()) == {1}
    assert len(stored.events_by_execution()) == len(found)
    assert set(stored.events_by_execution().values()) == {1}
    assert stored.differences() == []


def test_the_test_would_see_answers_before_the_commit(stored: Stored) -> None:
    mutant = {
        "DJANGO_SETTINGS_MODULE": "tests.races.mutants.settings",
        "MUTANT": "answer-before-commit",
    }
    with WebServer(**mutant) as server:
        ledger = _load_and_kill(server, stored, kills=2)
        time.sleep(2 * LATE_SECONDS)
    assert ledger.acknowledged - stored.sender_ids().keys() != set()
