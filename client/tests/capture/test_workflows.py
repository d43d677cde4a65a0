"""Workflows and nodes of functions and blocks, as they stand in the log afterwards."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from flowwatch_client import node, set_keys, start_workflow, workflow
from flowwatch_client.capture import source
from recorded import Recorded


def test_a_workflow_with_its_nodes_inputs_and_outputs(recorded: Recorded) -> None:
    @node
    def read(customer: int, *, most: int = 10) -> list[int]:
        """Read."""
        return [customer, most]

    @workflow("orders", tags=["eu"], keys={"order": 4711})
    def orders(day: str) -> int:
        set_keys(customer="C-7")
        return sum(read(1, most=2))

    assert orders("monday") == 3
    execution, nodes = recorded.one()
    assert (execution.workflow_id, execution.status) == ("orders", "success")
    assert json.loads(execution.trigger_data) == {"day": "monday"}
    assert (execution.result, execution.tags) == ("3", '["eu"]')
    assert json.loads(execution.keys or "") == {"order": "4711", "customer": "C-7"}
    (read_node,) = nodes
    assert (read_node.node_id, read_node.status, read_node.run_index) == ("read", "success", 0)
    assert (read_node.input, read_node.output) == ('{"customer":1,"most":2}', "[1,2]")
    assert json.loads(read_node.extra or "")["source"]["file"].endswith("test_workflows.py")
    assert (read.__name__, read.__doc__) == ("read", "Read.")
    assert str(inspect.signature(read)) == "(customer: 'int', *, most: 'int' = 10) -> 'list[int]'"


def test_a_failure_names_its_node_and_passes_as_it_is(recorded: Recorded) -> None:
    raised = ValueError("503 Service Unavailable")

    @node
    def send() -> None:
        raise raised

    @node("deliver")
    def deliver() -> None:
        send()

    @workflow
    def orders() -> None:
        deliver()

    with pytest.raises(ValueError, match="503") as caught:
        orders()
    assert caught.value is raised
    execution, nodes = recorded.one()
    assert (execution.status, execution.error_node_id) == ("error", "send")
    assert execution.error_message == "ValueError: 503 Service Unavailable"
    assert "in send" in (execution.error_stack or "")
    assert "flowwatch_client" not in (execution.error_stack or "")
    by_id = {each.node_id: each for each in nodes}
    assert by_id["send"].error_stack is not None
    assert (by_id["deliver"].status, by_id["deliver"].error_stack) == ("error", None)
    assert json.loads(by_id["send"].extra or "")["parentNodeId"] == "deliver"


def test_an_error_that_is_raised_from_another_names_the_node_of_the_first(
    recorded: Recorded,
) -> None:
    @node
    def send() -> None:
        raise ValueError("inner")

    @workflow("orders")
    def orders() -> None:
        try:
            send()
        except ValueError as error:
            raise RuntimeError("outer") from error

    with pytest.raises(RuntimeError):
        orders()
    execution, _ = recorded.one()
    assert (execution.error_message, execution.error_node_id) == ("RuntimeError: outer", "send")


class Own(Exception):
    """Those that Python code defines can be referred to weakly, Python's own ones can't."""


@pytest.mark.parametrize("kind", [ValueError, Own])
def test_an_error_at_the_address_of_an_earlier_one_is_another(
    recorded: Recorded, kind: type[Exception]
) -> None:
    @node
    def outer() -> None:
        try:
            with node("inner"):
                raise kind("swallowed")
        except kind as error:
            address = id(error)
        gc.collect()
        made = [kind("later") for _ in range(50_000)]
        raise next(each for each in made if id(each) == address)

    with pytest.raises(kind), workflow("orders"):
        outer()
    execution, nodes = recorded.one()
    assert (execution.error_node_id or "").endswith("outer")
    assert ["later" in (each.error_stack or "") for each in nodes] == [False, True]


def test_an_error_that_the_workflow_handles_is_the_nodes_alone(recorded: Recorded) -> None:
    with workflow("orders"):
        try:
            with node("read", input={"a": 1}):
                raise KeyError("x")
        except KeyError:
            pass
        with node("again") as again:
            again.set_output([1])
    execution, nodes = recorded.one()
    assert (execution.status, execution.error_message) == ("success", None)
    assert [each.status for each in nodes] == ["error", "success"]
    assert [each.input for each in nodes] == ['{"a":1}', None]
    assert nodes[1].output == "[1]"


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (KeyboardInterrupt(), "canceled"),
        (SystemExit(0), "success"),
        (SystemExit(2), "error"),
        (asyncio.CancelledError(), "canceled"),
    ],
)
def test_what_ends_a_program_passes_and_says_how_it_ended(
    recorded: Recorded, raised: BaseException, status: str
) -> None:
    @node
    def step() -> None:
        raise raised

    @workflow
    def orders() -> None:
        step()

    with pytest.raises(type(raised)) as caught:
        orders()
    assert caught.value is raised
    execution, nodes = recorded.one()
    assert (execution.status, nodes[0].status) == (status, status)


def test_coroutines_stay_coroutines(recorded: Recorded) -> None:
    @node
    async def read(number: int) -> int:
        await asyncio.sleep(0)
        return number

    @workflow
    async def orders() -> list[int]:
        async with node("block"):
            return list(await asyncio.gather(*[read(number) for number in range(3)]))

    assert inspect.iscoroutinefunction(read)
    assert inspect.iscoroutinefunction(orders)
    assert asyncio.run(orders()) == [0, 1, 2]
    execution, nodes = recorded.one()
    assert (execution.workflow_id, execution.status) == ("orders", "success")
    assert sorted(each.output or "" for each in nodes if each.node_id == "read") == ["0", "1", "2"]
    assert sorted(each.run_index or 0 for each in nodes if each.node_id == "read") == [0, 1, 2]
    assert {json.loads(each.extra or "").get("parentNodeId") for each in nodes} == {None, "block"}


def test_a_generator_counts_until_it_ends(recorded: Recorded) -> None:
    @node
    def inner() -> None:
        """A node within a step."""

    @node
    def between() -> None:
        """A node of who takes the items."""

    @node
    def numbers(most: int) -> Generator[int, str, str]:
        said = ""
        for number in range(most):
            inner()
            said += (yield number) or ""
        return said

    assert inspect.isgeneratorfunction(numbers)
    with workflow("orders"):
        taken = numbers(7)
        assert next(taken) == 0
        assert taken.send("a") == 1
        between()
        assert taken.send("b") == 2
        assert list(taken) == [3, 4, 5, 6]
    _, nodes = recorded.one()
    by_id = {each.node_id: each for each in nodes}
    assert json.loads(by_id["numbers"].output or "") == {"items": 7, "first": [0, 1, 2, 3, 4]}
    assert json.loads(by_id["inner"].extra or "")["parentNodeId"] == "numbers"
    assert "parentNodeId" not in json.loads(by_id["between"].extra or "")


def test_a_generator_that_is_closed_early_is_a_success(recorded: Recorded) -> None:
    closed = []

    @node
    def numbers() -> Generator[int, None, None]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    with workflow("orders"):
        taken = numbers()
        assert next(taken) == 1
        taken.close()
        assert closed == [True]
        taken = numbers()
        next(taken)
        with pytest.raises(KeyError):
            taken.throw(KeyError("thrown"))
    _, nodes = recorded.one()
    assert [each.status for each in nodes] == ["success", "error"]
    assert nodes[1].error_message == "KeyError: 'thrown'"


def test_asynchronous_generators(recorded: Recorded) -> None:
    @node
    async def numbers() -> Any:
        said = None
        while said != "stop":
            try:
                said = yield said
            except KeyError:  # noqa: PERF203
                said = yield "caught"

    async def run() -> list[Any]:
        async with workflow("orders"):
            taken = numbers()
            got = [await taken.__anext__(), await taken.asend("a")]
            got.append(await taken.athrow(KeyError("x")))
            got.append(await taken.asend("b"))
            with pytest.raises(StopAsyncIteration):
                await taken.asend("stop")
            early = numbers()
            async for _ in early:
                break
            await early.aclose()
            return got

    assert inspect.isasyncgenfunction(numbers)
    assert asyncio.run(run()) == [None, "a", "caught", "b"]
    _, nodes = recorded.one()
    assert [each.status for each in nodes] == ["success", "success"]
    assert json.loads(nodes[0].output or "")["items"] == 4


def test_attempts_are_recorded_one_by_one(recorded: Recorded) -> None:
    calls = []

    @node(attempts=3, wait=lambda attempt: 0.001 * attempt)
    def send() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("refused")
        return "sent"

    with workflow("orders"):
        assert send() == "sent"
    _, nodes = recorded.one()
    assert [(each.attempt, each.status) for each in nodes] == [
        (1, "error"),
        (2, "error"),
        (3, "success"),
    ]


def test_attempts_of_a_workflow_are_executions_that_name_the_one_before(
    recorded: Recorded,
) -> None:
    @workflow(attempts=2)
    async def orders() -> None:
        raise OSError("refused")

    with pytest.raises(OSError, match="refused"):
        asyncio.run(orders())
    (first, _), (second, _) = recorded.executions()
    assert (first.attempt, second.attempt) == (1, 2)
    assert (first.retry_of, second.retry_of) == (None, first.id)


def test_a_workflow_within_a_workflow_names_its_parent(recorded: Recorded) -> None:
    @workflow
    def inner() -> None:
        with node("leaf"):
            pass

    with workflow("outer") as outer, node("call"):
        inner()
    (first, nodes), (second, leaves) = recorded.executions()
    assert (first.workflow_id, second.workflow_id) == ("outer", "inner")
    assert (second.parent_execution_id, second.parent_node_id) == (outer.id, "call")
    assert [each.node_id for each in nodes + leaves] == ["call", "leaf"]


def test_explicit_calls(recorded: Recorded) -> None:
    run = start_workflow("orders", trigger="cron")
    read = run.node("read", input=[1], type="http")
    read.finish(output=[2])
    with run.node("write") as write:
        inner = run.node("inner")
        inner.finish(error=ValueError("no"))
        write.set_output("done")
    run.finish(result="fine")
    run.finish(error=ValueError("too late"))
    execution, nodes = recorded.one()
    assert (execution.status, execution.trigger_type, execution.result) == (
        "success",
        "cron",
        '"fine"',
    )
    assert [(each.node_id, each.status) for each in nodes] == [
        ("read", "success"),
        ("inner", "error"),
        ("write", "success"),
    ]
    assert json.loads(nodes[1].extra or "")["parentNodeId"] == "write"


def test_methods_leave_themselves_out(recorded: Recorded) -> None:
    class Importer:
        @node
        def read(self, path: str) -> str:
            return path

        @node
        @staticmethod
        def parse(text: str) -> str:
            return text

        @classmethod
        @node
        def make(cls) -> type:
            return cls

    with workflow("orders"):
        importer = Importer.make()()
        assert importer.parse(importer.read("a")) == "a"
    _, nodes = recorded.one()
    assert [(each.node_id, each.input) for each in nodes] == [
        ("Importer.make", None),
        ("Importer.read", '{"path":"a"}'),
        ("Importer.parse", '{"text":"a"}'),
    ]


def test_partial_functions_have_the_name_of_the_function(recorded: Recorded) -> None:
    def read(path: str, most: int) -> str:
        return path * most

    part = node(functools.partial(read, most=2))
    with workflow("orders"):
        assert part("a") == "aa"
    _, nodes = recorded.one()
    assert nodes[0].node_id == "read"


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_cached_function_keeps_what_its_cache_offers(recorded: Recorded, attempts: int) -> None:
    @node(attempts=attempts)
    @functools.lru_cache
    def double(number: int) -> int:
        return 2 * number

    cached: Any = double
    assert [double(2), double(2)] == [4, 4]
    assert (cached.cache_info().hits, cached.cache_parameters()["maxsize"]) == (1, 128)
    cached.cache_clear()
    assert cached.cache_info().currsize == 0


def test_a_node_outside_of_a_workflow_is_not_recorded(recorded: Recorded) -> None:
    @node
    def read() -> int:
        return 1

    assert read() == 1
    with node("block") as block:
        block.set_output(1)
    assert recorded.executions() == []


def test_a_class_is_no_function() -> None:
    with pytest.raises(TypeError, match="is no function"):
        node(dict)


def test_one_block_may_be_open_in_several_tasks(recorded: Recorded) -> None:
    shared = node("shared")

    async def task(number: int) -> None:
        async with shared as step:
            step.set_output(number)
            await asyncio.sleep(0.01 * number)
            if number == 1:
                raise ValueError("one")

    async def run() -> list[Any]:
        async with workflow("orders"):
            return await asyncio.gather(*map(task, [3, 1, 2]), return_exceptions=True)

    asyncio.run(run())
    _, nodes = recorded.one()
    assert [(each.output, each.status) for each in nodes] == [
        ("1", "error"),
        ("2", "success"),
        ("3", "success"),
    ]


def test_the_line_of_a_block_is_its_source(recorded: Recorded) -> None:
    async def run() -> None:
        async with workflow("orders"), node("awaited"):
            with node("plain"):
                pass

    asyncio.run(run())
    _, nodes = recorded.one()
    sources = {each.node_id: json.loads(each.extra or "")["source"] for each in nodes}
    assert sources["plain"]["line"] == sources["awaited"]["line"] + 1
    assert sources["plain"]["function"].endswith("run")


def test_a_workflow_goes_on_where_its_folder_is_gone(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source._short.cache_clear()
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    with workflow("orders") as run:
        with node("block"):
            pass
        node("function")(lambda: None)()
        run.node("by hand").finish()
    source._short.cache_clear()
    _, nodes = recorded.one()
    assert [json.loads(each.extra or "")["source"]["file"] for each in nodes] == [__file__] * 3


def test_what_hinders_the_look_up_of_a_source_stays_here(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_depth: int) -> Any:
        raise RuntimeError("no frames")

    monkeypatch.setattr(source, "of_caller", broken)
    monkeypatch.setattr(sys, "path", [*sys.path, None])
    source._short.cache_clear()
    with workflow("orders"):
        with node("block"):
            pass
        node("function")(lambda: None)()
    _, nodes = recorded.one()
    assert [each.node_id for each in nodes] == ["function"]
    assert "no frames" in caplog.text


def test_exceptions_that_can_not_be_told_are_recorded(recorded: Recorded) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise OSError("no")

    with pytest.raises(Unspeakable), workflow("orders"), node("step"):
        raise Unspeakable
    execution, nodes = recorded.one()
    assert (execution.status, nodes[0].status) == ("error", "error")
    assert execution.error_message == "Unspeakable: [its text can't be read]"


def test_a_group_of_errors_names_the_node_of_the_first(recorded: Recorded) -> None:
    groups = pytest.importorskip("builtins")
    if not hasattr(groups, "ExceptionGroup"):
        pytest.skip("Python 3.11 has them")

    @workflow
    def orders() -> None:
        found = []
        for name in ("a", "b"):
            try:
                with node(name):
                    raise ValueError(name)
            except ValueError as error:  # noqa: PERF203
                found.append(error)
        raise groups.ExceptionGroup("both", found)

    with pytest.raises(groups.ExceptionGroup):
        orders()
    execution, _ = recorded.one()
    assert execution.error_node_id == "a"
