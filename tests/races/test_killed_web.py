"""kill -9 of web processes under load: what was acknowledged is stored, once, and counted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.config.servers import WebServer
from tests.config.trees import PATIENCE, kill, wait_for
from tests.faults.ledger import Ledger, load
from tests.races.conftest import Stored
from tests.races.mutants.faults import LATE_SECONDS

KILLS, SENDERS = 12, 16
PAUSE_SECONDS, LOAD = 0.9, 20


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
    with load(ledger, server.port, stored.token, SENDERS):
        for victim in _victims(server, ledger, kills):
            kill(victim)
        ledger.goes_on(LOAD, PAUSE_SECONDS)
    return ledger


def _victims(server: WebServer, ledger: Ledger, kills: int) -> Iterator[int]:
    """The longest living web process, each time when both are there and work."""
    for _ in range(kills):
        wait_for(lambda: len(_web_processes(server)) == 2, PATIENCE, "both web processes are back")
        ledger.goes_on(LOAD, PAUSE_SECONDS)
        yield _web_processes(server)[0]


def test_nothing_that_was_acknowledged_is_lost_or_doubled(
    server: WebServer, stored: Stored
) -> None:
    ledger = _load_and_kill(server, stored, KILLS)
    found = stored.sender_ids()
    assert ledger.cut_off >= KILLS, "the kills hit nobody"
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
