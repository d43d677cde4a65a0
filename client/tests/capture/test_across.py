"""Threads, tasks and processes belong to the workflow that starts them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import multiprocessing
import os
import pickle
import signal
import socket
import threading
from collections.abc import Generator
from typing import Any

import pytest

from flowwatch_client import attach, configure, current, flush, node, start_workflow, workflow
from flowwatch_client.capture import threads
from flowwatch_client.capture.place import here
from recorded import Recorded


@node
def step(number: int) -> int:
    return number * 2


def in_another_process(context: Any, log: str, number: int) -> int:
    configure(log=log)
    with attach(context), node("chunk"):
        return step(number)


def test_threads_and_pools_carry_the_workflow(recorded: Recorded) -> None:
    own: contextvars.ContextVar[str] = contextvars.ContextVar("own", default="unset")
    seen = []

    def work() -> None:
        seen.append(own.get())
        step(1)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        with workflow("first"), node("outer"):
            own.set("set")
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            assert list(pool.map(step, [2, 3])) == [4, 6]
        assert pool.submit(lambda: here.get()).result() is None
        with workflow("second"):
            assert pool.submit(step, 4).result() == 8
    assert seen == ["unset"], "the workflow's own variables stay as Python has them"
    (_, first), (_, second) = recorded.executions()
    assert sorted(each.input or "" for each in first if each.node_id == "step") == [
        '{"number":1}',
        '{"number":2}',
        '{"number":3}',
    ]
    assert all('"parentNodeId": "outer"' in (each.extra or "") for each in first[:-1])
    assert [each.input for each in second] == ['{"number":4}']


def test_threads_can_be_left_alone(recorded: Recorded) -> None:
    configure(log=recorded.path, threads=False)
    seen = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool, workflow("orders"):
        thread = threading.Thread(target=lambda: seen.append(here.get()))
        thread.start()
        thread.join()
        seen.append(pool.submit(here.get).result())
    assert seen == [None, None]


def test_a_thread_that_can_not_be_started_again_stays_as_it_is(recorded: Recorded) -> None:
    with workflow("orders"):
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        with pytest.raises(RuntimeError):
            thread.start()
    assert "run" not in vars(thread)


def test_a_thread_starts_as_before(recorded: Recorded) -> None:
    class Own(threading.Thread):
        def run(self) -> None:
            seen.append((type(self), "run" in self.__dict__, here.get() is not None))

    seen: list[Any] = []
    with workflow("orders"):
        thread = Own()
        thread.start()
        thread.join()
    assert seen == [(Own, False, True)]


def test_tasks_carry_the_workflow(recorded: Recorded) -> None:
    async def run() -> list[int]:
        async def task(number: int) -> int:
            with node("task"):
                return await asyncio.to_thread(step, number)

        async with workflow("orders"):
            return list(await asyncio.gather(*[task(number) for number in range(3)]))

    assert asyncio.run(run()) == [0, 2, 4]
    _, nodes = recorded.one()
    assert sorted(each.node_id for each in nodes) == ["step"] * 3 + ["task"] * 3
    assert all('"parentNodeId": "task"' in (n.extra or "") for n in nodes if n.node_id == "step")


def test_two_workflows_at_once_keep_apart(recorded: Recorded) -> None:
    async def one(name: str) -> None:
        async with workflow(name):
            for _ in range(3):
                await asyncio.sleep(0)
                step(1)

    async def both() -> None:
        await asyncio.gather(one("a"), one("b"))

    asyncio.run(both())
    assert [len(nodes) for _, nodes in recorded.executions()] == [3, 3]


@pytest.mark.processes
def test_a_process_pool_by_context(recorded: Recorded) -> None:
    spawn = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn)
    with pool, workflow("orders", sample=0), node("spread"):
        step(0)
        called = [
            pool.submit(in_another_process, current(), str(recorded.path), number)
            for number in (1, 2)
        ]
        assert [each.result(60) for each in called] == [2, 4]
    execution, nodes = recorded.one()
    assert execution.status == "success"
    assert sorted((each.node_id, each.run_index or 0) for each in nodes) == [
        ("chunk", 0), ("chunk", 1), ("spread", 0), ("step", 0), ("step", 1), ("step", 2),
    ]  # fmt: skip


@pytest.mark.processes
def test_a_forked_pool_needs_the_context_too(recorded: Recorded) -> None:
    fork = multiprocessing.get_context("fork")
    pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=fork)
    with pool, workflow("orders"):
        assert pool.submit(step, 1).result(60) == 2
    _, nodes = recorded.one()
    assert nodes == []


def test_a_forked_child_adds_nodes_and_leaves_the_rest_to_its_parent(recorded: Recorded) -> None:
    with workflow("orders"):
        child = os.fork()
        if not child:
            status = 1
            try:
                with node("child"):
                    step(1)
                status = 0 if flush(10) else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        step(2)
    execution, nodes = recorded.one()
    assert execution.status == "success"
    assert sorted(each.node_id for each in nodes) == ["child", "step", "step"]


def test_a_forked_child_that_leaves_the_workflow_does_not_end_it(recorded: Recorded) -> None:
    child = -1
    try:
        with workflow("orders"):
            child = os.fork()
            if not child:
                raise SystemExit(3)
            assert os.waitpid(child, 0)[1] == 0
            (running, _) = recorded.one()
    finally:
        if not child:
            os._exit(0 if flush(10) else 1)
    execution, _ = recorded.one()
    assert (running.status, execution.status) == ("running", "success")


def test_a_context_by_hand(recorded: Recorded) -> None:
    assert current() is None
    with attach(None):
        step(0)
    run = start_workflow("orders")
    with attach(run):
        context = pickle.loads(pickle.dumps(current()))
    with attach(context):
        step(1)
    run.finish()
    _, nodes = recorded.one()
    assert [each.node_id for each in nodes] == ["step"]


def test_what_hinders_attaching_stays_here(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> str:
        raise OSError("no name")

    with workflow("orders"):
        context = current()
    monkeypatch.setattr(socket, "gethostname", broken)
    with attach(context):
        assert current() is None
    assert "no name" in caplog.text


def test_a_forked_child_of_an_attached_one_waits_for_no_thread_of_its_parent(
    recorded: Recorded,
) -> None:
    with workflow("orders"):
        context = current()
    is_held, is_over = threading.Event(), threading.Event()

    def hold(execution: Any) -> None:
        with execution.lock:
            is_held.set()
            is_over.wait(20)

    with attach(context):
        place = here.get()
        assert place is not None
        thread = threading.Thread(target=hold, args=(place.execution,))
        thread.start()
        assert is_held.wait(10)
        child = os.fork()
        if not child:
            signal.alarm(5)
            status = 1
            try:
                step(1)
                status = 0 if flush(4) else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        is_over.set()
        thread.join()
    _, nodes = recorded.one()
    assert [each.node_id for each in nodes] == ["step"]


def opened() -> Generator[None, None, None]:
    with node("opened"):
        yield


def test_a_block_that_ends_late_leaves_its_thread_where_it_is(recorded: Recorded) -> None:
    late, later = opened(), opened()
    with workflow("first"):
        next(late)
        next(later)
    late.close()
    assert here.get() is None
    with workflow("second"):
        later.close()
        step(1)
    assert here.get() is None
    (_, first), (_, second) = recorded.executions()
    assert [each.node_id for each in first] == ["opened"] * 2
    assert [(each.node_id, "parentNodeId" in (each.extra or "")) for each in second] == [
        ("step", False)
    ]


def test_an_attached_block_that_ends_late_leaves_its_thread_where_it_is(
    recorded: Recorded,
) -> None:
    def attached() -> Generator[None, None, None]:
        with attach(current()):
            yield

    with workflow("first"):
        late = attached()
        next(late)
    late.close()
    assert here.get() is None


def test_a_block_that_is_left_open_does_not_keep_what_is_around_it_open(
    recorded: Recorded,
) -> None:
    still_open = opened()
    with workflow("orders"):
        with node("outer"):
            next(still_open)
        step(1)
        with node("closes"):
            still_open.close()
    _, nodes = recorded.one()
    stepped = next(each for each in nodes if each.node_id == "step")
    assert "parentNodeId" not in (stepped.extra or "")


def test_a_thread_that_outlives_its_workflow_belongs_to_none(recorded: Recorded) -> None:
    is_over = threading.Event()
    seen: list[Any] = []

    def work() -> None:
        assert is_over.wait(10)
        step(1)
        with node("late"):
            seen.append(current())
        started = threading.Thread(target=lambda: seen.append(here.get()))
        started.start()
        started.join()
        with workflow("own"):
            step(2)

    with workflow("orders"):
        thread = threading.Thread(target=work)
        thread.start()
    is_over.set()
    thread.join()
    (_, first), (own, second) = recorded.executions()
    assert (first, seen) == ([], [None, None])
    assert (own.parent_execution_id, len(second)) == (None, 1)


def test_carrying_twice_changes_nothing() -> None:
    threads.carry()
    before = threading.Thread.start
    threads.carry()
    assert threading.Thread.start is before
