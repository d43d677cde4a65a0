"""Values and errors whose own code raises what is no `Exception`: the workflow goes on as it would."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from flowwatch_client import node, set_keys, workflow
from recorded import Recorded


class Odd(BaseException):
    """Of a program that has its own."""


EXITS = [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, Odd]


@pytest.mark.parametrize("kind", EXITS)
def test_a_value_that_raises_an_exit_gives_what_it_gives(
    recorded: Recorded, kind: type[BaseException]
) -> None:
    class Value:
        def __repr__(self) -> str:
            raise kind

        __str__ = __repr__

    class Object(dict):  # type: ignore[type-arg]
        def items(self) -> Any:
            raise kind

    value, held = Value(), Object(a=1)

    @node
    def step(given: object) -> object:
        return given

    @workflow
    def orders(given: object) -> object:
        set_keys(order=value)
        step(held)
        return step(given)

    assert orders(value) is value
    execution, nodes = recorded.one()
    assert execution.status == "success"
    unreadable = f'"[not readable: {kind.__name__}]"'
    assert [each.output for each in nodes] == [unreadable, unreadable]


@pytest.mark.parametrize("kind", EXITS)
@pytest.mark.parametrize("of", ["__str__", "__notes__", "__repr__", "exceptions"])
def test_an_error_that_raises_an_exit_is_raised_itself(
    recorded: Recorded, kind: type[BaseException], of: str
) -> None:
    def fails(_self: object) -> str:
        raise kind

    member: Any = fails if of in ("__str__", "__repr__") else property(fails)
    error = type("Failure", (Exception,), {of: member})()

    @node
    def step() -> None:
        raise error

    @workflow
    def orders() -> None:
        step()

    with pytest.raises(Exception) as caught:  # noqa: PT011 - which is asked below
        orders()
    assert caught.value is error
    execution, nodes = recorded.one()
    assert [execution.status, *(each.status for each in nodes)] == ["error", "error"]


def test_an_exit_code_that_can_not_be_compared_is_a_failure(recorded: Recorded) -> None:
    class Code:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError

    @node
    def step() -> None:
        raise SystemExit(Code())

    with pytest.raises(SystemExit), workflow("orders"):
        step()
    execution, nodes = recorded.one()
    assert [execution.status, *(each.status for each in nodes)] == ["error", "error"]


def test_ctrl_c_while_a_value_is_looked_at_passes(recorded: Recorded) -> None:
    """The handler of Python itself, which leaves no frame."""

    class Slow:
        def __repr__(self) -> str:
            os.kill(os.getpid(), signal.SIGINT)
            return "".join("slow" for _ in range(10))

    @node
    def step() -> object:
        return Slow()

    @workflow
    def orders() -> None:
        step()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            orders()
    finally:
        signal.signal(signal.SIGINT, before)
    execution, nodes = recorded.one()
    assert execution.status == "canceled"
    assert [each.status for each in nodes] == ["success"]  # it had returned


def test_a_time_limit_while_a_result_is_looked_at_leaves_nothing_running(
    recorded: Recorded,
) -> None:
    class Overtime(Exception):
        pass

    class Slow:
        def __repr__(self) -> str:
            signal.raise_signal(signal.SIGALRM)
            return "slow"

    def over(*_: object) -> None:
        raise Overtime

    @workflow
    def orders() -> object:
        return Slow()

    before = signal.signal(signal.SIGALRM, over)
    try:
        with pytest.raises(Overtime):
            orders()
    finally:
        signal.signal(signal.SIGALRM, before)
    execution, _ = recorded.one()
    assert execution.status == "success"
    assert execution.completed_at is not None
