"""How many messages a target gets, on a simulated clock."""

from __future__ import annotations

import datetime as dt

import pytest

from alerts.limits import Act, allowed_at, plan

START = dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def played(arrivals: list[float], length: float) -> list[tuple[float, int]]:
    """(second, messages in it) of what goes out when messages arrive at these seconds."""
    sent: list[dt.datetime] = []
    out: list[tuple[float, int]] = []
    waiting, second, due = sorted(arrivals), 0.0, 0.0
    while second <= length:
        now = START + dt.timedelta(seconds=second)
        new = sum(at <= second for at in waiting)
        reached = [at for at in sent if at > now - HOUR]
        found = plan(reached, new, now)
        if found.act is Act.NOTHING:
            due = (found.again_at - START).total_seconds() if found.again_at else length + 1
            arriving = min((at for at in waiting if at > second), default=length + 1)
            second = max(min(due, arriving), second + 0.001)
            continue
        number = new if found.act is Act.SUM_UP else 1
        waiting = waiting[number:]
        sent.append(now)
        out.append((second, number))
        second += 0.02
    return out


def within(out: list[tuple[float, int]], seconds: float) -> int:
    """The most messages that went out within any such span."""
    times = [at for at, _ in out]
    return max(sum(at <= other < at + seconds for other in times) for at in times)


STORMS = {
    "at once": [0.0] * 500,
    "ten thousand in a minute": [number * 60 / 10_000 for number in range(10_000)],
    "one a second for an hour": [float(number) for number in range(3_600)],
    "one in twenty seconds for two hours": [20.0 * number for number in range(360)],
    "one a minute for five hours": [60.0 * number for number in range(300)],
    "six together every five minutes": [300.0 * n for n in range(24) for _ in range(6)],
}


@pytest.mark.parametrize("name", STORMS)
def test_a_storm_is_a_few_messages_and_nothing_is_left(name: str) -> None:
    arrivals = STORMS[name]
    out = played(arrivals, max(arrivals) + 3 * 3_600)
    assert out[0] == (arrivals[0], 1), "the first one goes out at once"
    assert within(out, 300) <= 10
    assert within(out, 3_600) <= 30
    assert sum(number for _, number in out) == len(arrivals), "nothing is dropped"


def test_a_few_messages_go_out_each_on_its_own() -> None:
    assert played([0, 1, 2, 3, 4], 60) == [(at, 1) for at in (0, 1, 2, 3, 4)]


def test_a_storm_is_summed_up_soon_after_its_first_message() -> None:
    out = played([0.0] * 500, 600)
    assert out[0] == (0.0, 1)
    [(second, number), *_] = out[1:]
    assert second <= 11
    assert number == 499


def test_what_is_over_the_limit_waits_until_the_oldest_is_out_of_the_span() -> None:
    reached = [START + dt.timedelta(seconds=number) for number in range(10)]
    assert allowed_at(reached, reached[-1]) == reached[0] + dt.timedelta(minutes=5)
    many = [START + dt.timedelta(minutes=number) for number in range(30)]
    assert allowed_at(many, many[-1]) == many[0] + HOUR


def test_nothing_new_means_nothing_to_do() -> None:
    found = plan([START], 0, START)
    assert (found.act, found.again_at) == (Act.NOTHING, None)
