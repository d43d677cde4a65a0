"""A sample of `make faults GROUP=database`: the product heals by itself when its database is away."""

from __future__ import annotations

import pytest

from tests.faults.database import kill_postmaster, under_load

pytestmark = pytest.mark.processes


def test_a_killed_database_loses_nothing_and_ends_nobody() -> None:
    assert under_load(kill_postmaster, 1).faults == []
