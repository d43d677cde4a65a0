"""Kills of web processes and of whole trees under load (research: row 1)."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.config.trees import PATIENCE, kill, wait_for
from tests.faults.ledger import IN_A_BATCH, SENDERS, Ledger, load
from tests.faults.product import WEB_PROCESSES, Audit, Product, product
from tests.faults.trials import NOTHING_WRONG, Outcome, Trial, mutant

# Between two kills, so that 200 kills stand for more than 100,000 executions.
ACKNOWLEDGED, PAUSE_SECONDS = 550, 0.5

Kill = Callable[[Product], None]


def kill_a_web_process(running: Product) -> None:
    """Any of them, when all are there."""
    wait_for(
        lambda: len(running.web_processes()) == WEB_PROCESSES,
        PATIENCE,
        "all web processes are back",
    )
    kill(random.choice(running.web_processes()))


def kill_everything(running: Product) -> None:
    """The machine's power is cut, as far as processes notice; somebody starts it again."""
    running.kill_all()
    running.start_and_wait()


def kills_under_load(
    victims: Kill, number: int, name: str = "", prepare: Callable[[Product], None] | None = None
) -> Outcome:
    """So many kills while senders send; what the senders' ledger says of it. `name` is a mutant's."""
    ledger = Ledger()
    with product(mutant=name) as running:
        if prepare is not None:
            prepare(running)
        with load(ledger, running.port, running.token):
            for _ in range(number):
                ledger.goes_on(ACKNOWLEDGED, PAUSE_SECONDS)
                victims(running)
            ledger.goes_on(ACKNOWLEDGED)
        outcome = Audit(running, ledger).outcome()
    if not ledger.cut_off:
        outcome.faults.append("the kills hit nobody")
    return outcome


def forget_uniqueness(running: Product) -> None:
    """Senders' ids are looked up, but no constraint keeps two of them apart."""
    running.query(
        "ALTER TABLE monitoring_executionkey DROP CONSTRAINT monitoring_executionkey_pkey"
    )


def with_mutant(name: str) -> Callable[[], Outcome]:
    """A few kills of a product with this fault."""
    return lambda: kills_under_load(kill_a_web_process, 3, name)


SIZES = f"{SENDERS} connections, one in four sends batches of {IN_A_BATCH}"

TRIALS = (
    Trial(
        "row 1: kill -9 of a random web process under load",
        f"200 kills with whole trees, 100,000 acknowledged; {NOTHING_WRONG}",
        lambda number: kills_under_load(kill_a_web_process, number),
        times=160, at_once=20, quick=6, sizes=SIZES,
    ),
    Trial(
        "row 1: kill -9 of the whole tree under load",
        NOTHING_WRONG,
        lambda number: kills_under_load(kill_everything, number),
        times=40, at_once=10, quick=2, sizes=SIZES,
    ),
    mutant("answers before the commit", with_mutant("answer-before-commit"), sees="lost"),
    mutant(
        "senders' ids without uniqueness",
        lambda: kills_under_load(kill_a_web_process, 6, prepare=forget_uniqueness),
        sees="doubled",
    ),
)  # fmt: skip
