"""Slow bodies at the limits of real life: all are cut by them, and nobody else waits a second."""

from __future__ import annotations

import pytest

from tests.config.servers import WebServer
from tests.config.slow_senders import SENDERS, attack
from tests.faults.carrier import KILLS

pytestmark = [
    pytest.mark.processes,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(KILLS == 1, reason="takes half a minute: only by `make faults`"),
]

IDLE, TOTAL = 5.0, 30.0
LATE = 2.0
"""How much later than its limit a cut may reach its sender."""


def test_two_hundred_slow_senders_are_cut_at_the_real_limits() -> None:
    with WebServer() as server:
        seen = attack(server, pause=1.0, longest=TOTAL)
    assert [len(seen.stopped), len(seen.dripping)] == [SENDERS / 2, SENDERS / 2]
    assert max(seen.health_seconds) < 1
    assert max(cut.seconds for cut in seen.stopped) < IDLE + LATE
    assert max(cut.seconds for cut in seen.dripping) < TOTAL + LATE
    assert min(cut.seconds for cut in seen.dripping) > TOTAL - LATE
