"""What is recorded gives the same as what is not: results, exceptions, items, whatever goes wrong here."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import os
import signal
import sqlite3
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowwatch_client import client as clients
from flowwatch_client import configure, flush, node, set_keys, start_workflow, workflow
from recorded import Recorded

Plan = list[tuple[str, object]]
"""What a function does: yields, returns or raises objects that can be told apart."""

ENDS = st.sampled_from(["return", "raise"])
PLANS = st.tuples(st.lists(st.builds(object), max_size=6), ENDS).map(
    lambda plan: [*(("yield", each) for each in plan[0]), (plan[1], plan[1])]
)


class Trouble(Exception):
    pass


def generator(plan: list[Any]) -> Generator[Any, Any, Any]:
    for what, value in plan:
        if what == "yield":
            yield (value, (yield value))
        elif what == "raise":
            raise Trouble(value)
        else:
            return value


async def asynchronous_generator(plan: list[Any]) -> AsyncGenerator[Any, Any]:
    for what, value in plan:
        if what == "yield":
            yield (value, (yield value))
        elif what == "raise":
            raise Trouble(value)


def plain(plan: list[Any]) -> Any:
    what, value = plan[-1]
    if what == "raise":
        raise Trouble(value)
    return plan


async def coroutine(plan: list[Any]) -> Any:
    await asyncio.sleep(0)
    return plain(plan)


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return "returned", call()
    except Trouble as error:
        return "raised", str(error)


def drive(made: Generator[Any, Any, Any]) -> list[Any]:
    """Everything it gives, with something sent at each second step."""
    seen: list[Any] = []
    try:
        seen.append(next(made))
        for number in range(20):
            seen += [made.send(number)]
    except StopIteration as stop:
        seen.append(("stop", stop.value))
    except Trouble as error:
        seen.append(("raised", str(error)))
    return seen


async def drive_asynchronously(made: AsyncGenerator[Any, Any]) -> list[Any]:
    seen: list[Any] = []
    try:
        seen.append(await made.__anext__())
        for number in range(20):
            seen += [await made.asend(number)]
    except StopAsyncIteration:
        seen.append("stop")
    except Trouble as error:
        seen.append(("raised", str(error)))
    return seen


@pytest.fixture(scope="module", autouse=True)
def _a_log(tmp_path_factory: pytest.TempPathFactory) -> Any:
    configure(log=tmp_path_factory.mktemp("log") / "executions.db", buffered=True)
    yield
    configure(enabled=False)


@given(PLANS, st.booleans())
def test_all_kinds_of_functions_do_what_they_do(plan: list[Any], within: bool) -> None:
    decorate: Any = node if within else workflow
    run = start_workflow("around")
    with run:
        assert outcome(lambda: decorate(plain)(plan)) == outcome(lambda: plain(plan))
        assert outcome(lambda: asyncio.run(decorate(coroutine)(plan))) == outcome(
            lambda: asyncio.run(coroutine(plan))
        )
        assert drive(decorate(generator)(plan)) == drive(generator(plan))
        assert asyncio.run(drive_asynchronously(decorate(asynchronous_generator)(plan))) == (
            asyncio.run(drive_asynchronously(asynchronous_generator(plan)))
        )


@pytest.mark.parametrize("decorate", [node, workflow])
def test_what_is_thrown_into_a_generator_is_the_same_exception(
    recorded: Recorded, decorate: Any
) -> None:
    seen: list[BaseException] = []

    @contextlib.contextmanager
    @decorate  # type: ignore[untyped-decorator]
    def rollback() -> Generator[None, None, None]:
        try:
            yield
        except Trouble as error:
            seen.append(error)
            raise

    thrown = Trouble("one", 2)
    with pytest.raises(Trouble) as caught, workflow("orders"), rollback():
        raise thrown
    assert caught.value is thrown
    assert seen == [thrown]


@pytest.mark.filterwarnings("ignore:.*throw:DeprecationWarning")
def test_a_generator_takes_a_thrown_kind_value_and_traceback(recorded: Recorded) -> None:
    thrown = Trouble("one", 2)
    seen: list[BaseException] = []

    def waits() -> Generator[None, None, None]:
        try:
            yield
        except Trouble as error:
            seen.append(error)

    with workflow("orders"):
        for made in (waits(), node(waits)()):
            next(made)
            with pytest.raises(StopIteration):
                made.throw(Trouble, thrown, thrown.__traceback__)
    assert [each is thrown for each in seen] == [True, True]


@pytest.mark.parametrize("decorate", [node, workflow, node("x"), workflow("x")])
def test_kinds_stay_what_they_are(decorate: Any) -> None:
    assert inspect.iscoroutinefunction(decorate(coroutine))
    assert inspect.isgeneratorfunction(decorate(generator))
    assert inspect.isasyncgenfunction(decorate(asynchronous_generator))
    assert inspect.signature(decorate(plain)) == inspect.signature(plain)
    assert decorate(plain).__wrapped__ is plain


def test_errors_of_this_library_stay_in_it(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError("broken on purpose")

    @node
    def step(number: int) -> int:
        return number

    @workflow
    def orders() -> int:
        set_keys(order=1)
        with node("block") as block:
            block.set_output(1)
        return step(2) + step(3)

    client = clients.active()
    assert client is not None
    assert orders() == 5
    for name in ("json", "write", "begin", "ended", "name", "text"):
        with monkeypatch.context() as patched:
            patched.setattr(client, name, broken)
            assert orders() == 5
            run = start_workflow("explicit")
            run.node("x").finish(error=ValueError("x"))
            run.finish(error=ValueError("x"))
    assert "broken on purpose" in caplog.text


def test_a_value_that_can_not_be_told_is_said_at_its_place(recorded: Recorded) -> None:
    class Hostile(dict):  # type: ignore[type-arg]
        def items(self) -> Any:
            raise OSError("no")

    with workflow("orders") as run:
        run.set_keys(a=Hostile())
        with node("x", input=Hostile(a=1)):
            pass
    _, nodes = recorded.one()
    assert nodes[0].input == '"[not readable: OSError]"'


def test_an_unusable_file_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("not a folder")
    configure(log=tmp_path / "file" / "executions.db", exit_seconds=0)
    with workflow("orders"), node("x"):
        pass
    assert not flush(0)
    assert caplog.text.count("takes nothing now") == 1
    configure(enabled=False)


@pytest.mark.parametrize("wrong", [{"sample": 7}, {"no_such": 1}, {"url": "ftp://x"}])
def test_a_bad_setting_is_said_and_nothing_recorded(
    wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    configure(**wrong)
    with workflow("orders") as run, node("x") as step:
        step.set_output(1)
        run.set_keys(a=1)
        run.add_tags("x")
        run.set_trigger("x")
        run.set_result(1)
        run.node("y", input=2).finish()
    assert run.id == ""
    assert "Flowwatch records nothing" in caplog.text


def test_nothing_is_kept_alive(recorded: Recorded) -> None:
    class Value:
        pass

    alive = []

    @node
    def step(value: Value) -> Value:
        made = Value()
        alive.append(weakref.ref(made))
        return made

    @node
    def items() -> Generator[Value, None, None]:
        for _ in range(3):
            made = Value()
            alive.append(weakref.ref(made))
            yield made

    @node
    def fail(value: Value) -> None:
        raise ValueError("no")

    @node
    def fail_of_its_own(value: Value) -> None:
        raise Trouble(value)

    with workflow("orders") as run:
        value = Value()
        alive.append(weakref.ref(value))
        run.set_result(value)
        step(value)
        for _ in items():
            pass
        with pytest.raises(ValueError, match="no"):
            fail(value)
        with pytest.raises(Trouble):
            fail_of_its_own(value)
        del value, _
        gc.collect()
        assert [each() for each in alive] == [None] * 5
    recorded.one()


def test_the_writer_in_trouble_does_not_slow_the_workflow(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = clients.active()
    assert client is not None
    tried = []

    def locked(rows: Any) -> None:
        tried.append(rows)
        raise sqlite3.OperationalError("database is locked")

    with workflow("orders"):
        with monkeypatch.context() as patched:
            patched.setattr(client.log, "write", locked)
            for number in range(100):
                with node("step", input=number):
                    pass
        assert len(tried) < 50
    _, nodes = recorded.one()
    assert len(nodes) == 100


class Overtime(TimeoutError):
    """What the time limit of a job raises, out of a signal's handler."""


@pytest.fixture
def time_limit() -> Any:
    def over(_number: int, _frame: Any) -> None:
        raise Overtime

    before = signal.signal(signal.SIGUSR1, over)
    yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_a_time_limit_that_is_over_while_something_is_recorded_ends_the_workflow(
    recorded: Recorded, time_limit: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow:
        def __repr__(self) -> str:
            time_limit()
            return "slow"

    @node
    def looked_at(value: Any) -> Any:
        return value

    @workflow
    def orders() -> None:
        looked_at([(Slow(),)])

    with pytest.raises(Overtime):
        orders()
    client = clients.active()
    assert client is not None
    with monkeypatch.context() as patched:
        patched.setattr(client.log, "write", lambda rows: time_limit())
        patched.setattr(client.writer, "_buffered", False)
        with pytest.raises(Overtime):
            orders()
    first, _ = recorded.executions()[0]
    assert (first.status, first.error_message) == ("error", "Overtime")
