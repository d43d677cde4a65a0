"""The tests of `test_alerts.py` would see the faults that they are for. `make faults` runs all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from alerts.limits import MOST_IN_SHORT
from config.home import home_from
from config.postgres.cluster import Cluster
from tenants.models import Tenant
from tests.alerts.factories import fail
from tests.alerts.receivers import at_first
from tests.config.trees import wait_for
from tests.database import superuser
from tests.faults.alerting import SETTLED_SECONDS, STORM, Hold, Office, cut, trial, zombies_tries
from tests.faults.carrier import KILLS, Carrier

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("cleared")]
in_make_faults = pytest.mark.skipif(KILLS == 1, reason="takes long: make faults")


def complaints_with(mutant: str, tenant: Tenant, office: Office, **how: Any) -> set[str]:
    """What is wrong with one failing workflow's messages."""
    with Carrier(tenant, mutant, ("a",), environment=office.environment), trial(office, **how) as t:
        t.fail()
        t.wait_until_settled()
        time.sleep(1)
        return t.complaints()


def test_they_would_see_a_new_id_for_each_try(tenant: Tenant, office: Office) -> None:
    found = complaints_with("new-key", tenant, office, troubles={"b": cut})
    assert "an id that is no message's" in found


@in_make_faults
def test_they_would_see_everybody_told_again_when_one_is_refused(
    tenant: Tenant, office: Office
) -> None:
    found = complaints_with("repeat-all", tenant, office, refused={"b": "550 no such user"})
    assert "a healthy address was told again" in found


@in_make_faults
def test_they_would_see_a_storm_that_is_not_summed_up(tenant: Tenant, office: Office) -> None:
    with Carrier(tenant, "ungrouped", ("a",), environment=office.environment), trial(office) as t:
        t.fail(STORM)
        wait_for(lambda: t.most_heard() > MOST_IN_SHORT, SETTLED_SECONDS, "too many messages")


@in_make_faults
def test_they_would_see_what_is_stored_as_sent_before_it_is(tenant: Tenant, office: Office) -> None:
    hold = Hold(of_call=True)
    with (
        Carrier(tenant, "store-first", ("a",), environment=office.environment) as carrier,
        trial(office, serve=at_first(1, hold)) as lost,
    ):
        lost.fail()
        carrier.kill(hold.wait_for_sender())
        lost.wait_until_settled()
        assert "sent, but never taken" in lost.complaints()


@in_make_faults
def test_they_would_see_claims_without_fences(tenant: Tenant, office: Office) -> None:
    with Carrier(tenant, "no-fence", environment=office.environment):
        assert zombies_tries(office) > 1


@in_make_faults
def test_they_would_see_incidents_that_only_a_constraint_keeps_apart(
    tenant: Tenant, office: Office
) -> None:
    with (
        without_constraint(),
        Carrier(tenant, "open-blindly", ("a",), environment=office.environment),
        trial(office) as doubled,
    ):
        doubled.fail()
        doubled.wait_until_settled()
        fail(doubled.workflows[0])
        wait_for(lambda: "an incident opened twice" in doubled.complaints(), 10, "opened twice")


@contextmanager
def without_constraint() -> Iterator[None]:
    """The database lets two incidents of one subject be open."""
    name = connection.settings_dict["NAME"]
    with superuser(Cluster(home_from(os.environ)), name) as admin:
        row = admin.execute(
            "SELECT indexdef FROM pg_indexes WHERE indexname = 'one_unresolved_incident_of_subject'"
        ).fetchone()
        assert row is not None
        admin.execute("DROP INDEX one_unresolved_incident_of_subject")
        try:
            yield
        finally:
            admin.execute("TRUNCATE alerts_incident CASCADE")
            admin.execute(row[0])
