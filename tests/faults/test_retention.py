"""A removal that is killed leaves nothing behind, and no number is wrong."""

import pytest

from tests.faults.retention import kills_of_removals

pytestmark = pytest.mark.processes


def test_killed_removals_leave_no_orphan_and_no_wrong_number() -> None:
    outcome = kills_of_removals(1)
    assert outcome.faults == [], outcome.tally
