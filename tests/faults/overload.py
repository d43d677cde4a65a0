"""More than there is room for: requests, connections, data (research: rows 4, 5, 6, 8)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.faults import crowds, disk
from tests.faults.trials import Outcome, Trial, mutant

_FLOOD_SECONDS, _NOISE_SECONDS, _MUTANT_SECONDS = 300.0, 60.0, 20.0


def _with(run: Callable[..., Outcome], name: str, **sizes: float) -> Callable[[], Outcome]:
    return lambda: run(1, mutant=name, **sizes)


TRIALS = (
    Trial(
        "row 4: three times the capacity for 5 minutes",
        "only 2xx, 429, 503 with Retry-After; goodput 80 %, accepted p99 1 s, memory 1.5 times the usual, "
        "as usual 10 s after",
        partial(crowds.three_times_the_capacity, seconds=_FLOOD_SECONDS),
        times=1, at_once=1, quick=0, what="floods",
    ),
    Trial(
        "row 5: one tenant at ten times its quota, another at a tenth",
        "the quiet one: 0 refused, p99 at most twice that alone; the noisy one: 429 with Retry-After",
        partial(crowds.noisy_neighbour, seconds=_NOISE_SECONDS),
        times=1, at_once=1, quick=0, what="pairs",
    ),
    Trial(
        "row 6: 500 idle connections and 200 slow senders",
        "/health/live 1 s, goodput 80 % of the usual, slow senders cut within 30 s",
        crowds.idle_and_slow_connections,
        times=1, at_once=1, quick=1, what="crowds",
    ),
    Trial(
        "row 6: 64 calls that hang in the database",
        "each answered when its statement ends after 10 s, /health/live 1 s meanwhile",
        crowds.views_that_hang,
        times=1, at_once=1, quick=1, what="locks",
    ),
    Trial(
        "row 8: the disk filled under load to 95 % and to the last byte, and emptied",
        "warned at 85 %, 503 with Retry-After at 95 % while reads go on, the supervisor lives on, "
        "stored again within 30 s, 0 lost",
        disk.fill_the_disk,
        times=3, at_once=1, quick=1, what="fillings",
    ),
    mutant(
        "everybody waits for a thread as long as it takes",
        _with(crowds.three_times_the_capacity, "wait-for-a-thread", seconds=_MUTANT_SECONDS),
        sees="p99 of accepted",
    ),
    mutant(
        "nobody has a quota",
        _with(crowds.noisy_neighbour, "no-quota", seconds=_MUTANT_SECONDS),
        sees="was not refused",
    ),
    mutant(
        "bodies may take for ever",
        _with(crowds.idle_and_slow_connections, "wait-for-bodies"),
        sees="slow sender was cut",
    ),
    mutant(
        "statements may take for ever",
        _with(crowds.views_that_hang, "wait-for-statements"),
        sees="last call was answered",
    ),
    mutant(
        "nobody watches the disk",
        _with(disk.fill_the_disk, "watch-no-disk"),
        sees="the log does not say",
    ),
)  # fmt: skip
