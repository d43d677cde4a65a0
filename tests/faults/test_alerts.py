"""Alerts by real workers: receivers that misbehave, workers that die or sleep while they send.

Whatever happens, every incident is told to everybody at least once with the same id, none is opened
twice, healthy addresses hear nothing twice, and nothing waits for ever. Times are at a tenth.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any, Final

import pytest

from alerts.limits import MOST_IN_SHORT
from tenants.models import Tenant
from tests.alerts.receivers import (
    Receiver,
    Serve,
    answering,
    at_first,
    closing,
    dripping,
    hanging,
)
from tests.config.trees import wait_for
from tests.faults.alerting import STORM, Hold, Office, Trial, cut, trial, zombies_tries
from tests.faults.carrier import KILLS, Carrier

pytestmark = pytest.mark.processes
in_make_faults = pytest.mark.skipif(KILLS == 1, reason="takes long: make faults")


def slow(connected: socket.socket, running: Receiver) -> None:
    """Says that it has taken the mail after the sender's patience (5 s) is over."""
    if not running.stopped.wait(7):
        connected.sendall(b"250 at last\r\n")


def slowly(connected: socket.socket, running: Receiver) -> None:
    """Answers a call within the sender's patience (2 s), but not at once."""
    time.sleep(0.6)
    answering(200)(connected, running)


# What each fault is to `trial`.
FAULTS: Final[dict[str, Mapping[str, Any]]] = {
    "all well": {},
    "500": {"serve": at_first(1, answering(500))},
    "429": {"serve": at_first(1, answering(429, "Retry-After: 10"))},
    "301": {"serve": at_first(1, answering(301, "Location: /elsewhere"))},
    "hanging": {"serve": at_first(1, hanging)},
    "dripping": {"serve": at_first(1, dripping)},
    "closing": {"serve": at_first(1, closing)},
    "slow receiver": {"serve": slowly},
    "cut after the dot": {"troubles": {"b": cut}},
    "slow mail server": {"troubles": {"c": slow}},
    "one of three refused": {"refused": {"b": "550 no such user"}},
}


@pytest.fixture(scope="module")
def carrier(tenant: Tenant, cleared: None, office: Office) -> Iterator[Carrier]:
    with Carrier(tenant, environment=office.environment) as carrier:
        yield carrier


@pytest.fixture(scope="module")
def trials(carrier: Carrier, office: Office) -> Iterator[dict[str, Trial]]:
    """All faults at once, each in a tenant of its own."""
    with ExitStack() as stack:
        trials = {fault: stack.enter_context(trial(office, **how)) for fault, how in FAULTS.items()}
        for each in trials.values():
            each.fail()
        for each in trials.values():
            each.wait_until_settled()
        yield trials


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_receivers_do_everybody_is_told(trials: dict[str, Trial], fault: str) -> None:
    assert trials[fault].complaints() == set()


def test_a_receiver_in_trouble_hears_it_again_with_the_same_id(trials: dict[str, Trial]) -> None:
    for fault in ("500", "429", "301", "hanging", "dripping", "closing", "cut after the dot"):
        [address] = trials[fault].troubled
        heard = trials[fault].heard()[address]
        assert len(heard) > 1, fault
        assert len(set(heard)) == 1, fault


def test_a_mail_server_that_was_away_gets_everything(carrier: Carrier, office: Office) -> None:
    office.close()
    try:
        with trial(office) as away:
            away.fail()
            wait_for(lambda: len(away.hook.accepted) == 1, 10, "the webhook is told meanwhile")
            wait_for(lambda: is_tried(away), 10, "the mails are tried")
            office.open()
            away.wait_until_settled()
            assert away.complaints() == set()
    finally:
        office.close()
        office.open()


def is_tried(trial: Trial) -> bool:
    return all(tries > 0 for address, _, _, tries in trial.messages() if address in trial.mails)


@in_make_faults
@pytest.mark.parametrize(
    "serve",
    [answering(500), answering(429), answering(301), hanging, dripping, closing],
    ids=["500", "429", "301", "hanging", "dripping", "closing"],
)
def test_nothing_waits_for_ever(carrier: Carrier, office: Office, serve: Serve) -> None:
    with trial(office, serve=serve) as hopeless:
        hopeless.fail()

        def is_over() -> bool:
            hopeless.hurry()
            return hopeless.is_settled()

        wait_for(is_over, 60, "given up")
        [(_, _, state, tries)] = [m for m in hopeless.messages() if m[0] == hopeless.hook.url]
        assert (state, tries) == ("failed", 8)
        assert hopeless.complaints() == {"somebody was never told"}


# --- storms ---------------------------------------------------------------------------------------


def test_a_storm_is_a_few_messages_that_leave_no_incident_out(
    carrier: Carrier, office: Office
) -> None:
    with trial(office) as storm:
        storm.fail(STORM)
        storm.wait_until_settled()
        assert storm.complaints() == set()
        assert storm.most_heard() <= MOST_IN_SHORT


# --- workers that die or sleep ----------------------------------------------------------------


def test_who_is_killed_while_sending_leaves_it_to_another(carrier: Carrier, office: Office) -> None:
    for _ in range(KILLS):
        with ExitStack() as stack:
            of_call, of_mail = Hold(of_call=True), Hold()
            called = stack.enter_context(trial(office, serve=at_first(1, of_call)))
            mailed = stack.enter_context(trial(office, troubles={"c": of_mail}))
            kill_senders(carrier, {called: of_call, mailed: of_mail})
            for trial_, address in ((called, called.hook.url), (mailed, mailed.mails[-1])):
                trial_.wait_until_settled()
                assert trial_.complaints() == set()
                assert len(trial_.heard()[address]) > 1
        carrier.wait_until_whole()


def kill_senders(carrier: Carrier, holds: Mapping[Trial, Hold]) -> None:
    """Kill the workers that send just now, when the healthy addresses are done, if they are soon.

    A message that is not stored as sent by then may be told again.
    """
    for each in holds:
        each.fail()
    senders = {hold.wait_for_sender() for hold in holds.values()}
    with suppress(AssertionError):
        wait_for(lambda: all(waiting(each) == each.troubled for each in holds), 1, "healthy")
    for each in holds:
        each.troubled |= waiting(each)
    for sender in senders:
        carrier.kill(sender)


def waiting(trial: Trial) -> set[str]:
    return {address for address, _, _ in trial.pending()}


@in_make_faults
def test_who_sleeps_beyond_the_lease_stores_nothing(carrier: Carrier, office: Office) -> None:
    assert zombies_tries(office) == 1


@in_make_faults
def test_kills_in_a_storm_open_no_incident_twice(carrier: Carrier, office: Office) -> None:
    with trial(office) as storm:
        storm.troubled = {storm.hook.url, *storm.mails}
        blow(storm, carrier)
        storm.wait_until_settled(120)
        assert storm.complaints() == set()


def blow(storm: Trial, carrier: Carrier) -> None:
    """Ten workflows fail, again and again, while workers are killed."""
    storm.fail(10)
    for _ in range(KILLS):
        cluster = carrier.cluster_pids(random.choice(carrier.clusters))
        if victims := [pid for part, pid in cluster.items() if part.startswith("worker")]:
            carrier.kill(random.choice(victims))
        time.sleep(random.uniform(0, 0.5))
        storm.fail(1)
    carrier.wait_until_whole()
