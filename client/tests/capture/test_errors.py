"""What is told of exceptions: bounded, however many belong together, and none is kept alive."""

from __future__ import annotations

import builtins
import contextlib
import gc
import sys
import time
import traceback
import weakref
from typing import Any

import pytest

from flowwatch_client import node, workflow
from flowwatch_client.capture import errors
from flowwatch_client.capture.errors import stack_of
from recorded import Recorded

Group: Any = getattr(builtins, "ExceptionGroup", None)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def chain(length: int) -> BaseException:
    """Each was raised while the one before was handled."""
    last: BaseException = raised(ValueError("first"))
    for number in range(1, length):
        error = raised(ValueError(number))
        error.__context__ = last
        last = error
    return last


def deep(frames: int) -> BaseException:
    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
        raise ValueError("deepest")

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(2 * frames)
    try:
        deeper(frames)
    except ValueError as error:
        return error
    finally:
        sys.setrecursionlimit(before)
    raise AssertionError


def doubled(levels: int) -> BaseException:
    group: BaseException = Group("g", [ValueError("inner")])
    for _ in range(levels):
        group = Group("g", [group, group])
    return group


def test_a_stack_is_told_as_python_prints_it() -> None:
    error = chain(5)
    assert stack_of(error) == "".join(traceback.format_exception(error))


@pytest.mark.parametrize("length", [1_000, 100_000])
def test_the_work_on_a_chain_is_bounded(length: int) -> None:
    error = chain(length)
    began = time.process_time()
    told = stack_of(error)
    assert time.process_time() - began < 0.2
    assert told.rstrip().endswith(f"ValueError: {length - 1}")
    assert f"ValueError: {length - 2}\n" in told
    assert "raise error" in told
    while error.__context__ is not None:  # Python frees a long chain by recursion
        error = error.__context__


def test_the_work_on_a_long_stack_is_bounded() -> None:
    # Each call of Python takes room on the C stack before 3.11.
    error = deep(20_000 if sys.version_info >= (3, 11) else 5_000)
    began = time.process_time()
    told = stack_of(error)
    assert time.process_time() - began < 0.2
    assert told.startswith("[")
    assert told.rstrip().endswith("ValueError: deepest")
    assert "deeper(left - 1)" in told


@pytest.mark.skipif(Group is None, reason="Python 3.11 has groups")
def test_the_work_on_a_group_is_bounded(recorded: Recorded) -> None:
    wide = Group("wide", [ValueError(number) for number in range(50_000)])
    for error in (wide, doubled(40)):
        began = time.process_time()
        told = stack_of(error)
        assert len([*errors.related(error)]) <= 51
        assert time.process_time() - began < 0.2
        assert "ExceptionGroup" in told
        assert "ValueError: " in told
    with pytest.raises(Group), workflow("orders"), node("step"):
        raise wide
    execution, nodes = recorded.one()
    assert (execution.status, nodes[0].status) == ("error", "error")


@pytest.mark.parametrize("kind", [ValueError, type("Own", (ValueError,), {})])
def test_what_an_exception_holds_is_not_kept_alive(
    recorded: Recorded, kind: type[Exception]
) -> None:
    class Answer:
        pass

    alive: list[weakref.ref[Answer]] = []

    @node
    def fail() -> None:
        error = kind("no")
        error.response = Answer()  # type: ignore[attr-defined]
        alive.append(weakref.ref(error.response))  # type: ignore[attr-defined]
        raise error

    with workflow("orders"):
        for _ in range(150):
            with contextlib.suppress(kind):
                fail()
        gc.collect()
        with node("next"):
            pass
        assert sum(each() is not None for each in alive) == 0


def test_what_is_called_exceptions_may_be_anything() -> None:
    error = raised(ValueError("no"))
    error.exceptions = ("a", 1)  # type: ignore[attr-defined]
    assert stack_of(error).endswith("ValueError: no\n")
    assert [*errors.related(error)] == [error]


def test_exceptions_that_are_kept_are_known_again(recorded: Recorded) -> None:
    @node
    def step(error: ValueError) -> None:
        raise error

    @workflow
    def orders() -> None:
        kept = [ValueError(number) for number in range(5)]
        for error in kept:
            with contextlib.suppress(ValueError):
                step(error)
        with node("after"):
            pass
        raise kept[0]

    with pytest.raises(ValueError, match="0"):
        orders()
    execution, nodes = recorded.one()
    assert execution.error_node_id == nodes[0].node_id
