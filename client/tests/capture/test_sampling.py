"""Sampling leaves nodes and values of successes out, never those of failures."""

from __future__ import annotations

import json
import logging
import time

import pytest

from flowwatch_client import node, set_result, workflow
from flowwatch_client.capture import execution as executions
from flowwatch_client.integrations.logs import FlowwatchHandler
from recorded import Recorded


@node
def step(number: int) -> int:
    if number < 0:
        raise ValueError("negative")
    return number


def test_a_success_that_is_not_sampled_keeps_its_row_and_times(recorded: Recorded) -> None:
    @workflow(sample=0)
    def orders(day: str) -> str:
        step(1)
        return day

    orders("monday")
    execution, nodes = recorded.one()
    assert (execution.status, nodes, execution.result) == ("success", [], None)
    assert execution.trigger_data == "null"
    assert execution.duration_ms is not None
    extra = json.loads(execution.extra or "")
    assert (extra["sampled"], extra["nodesLeftOut"]) == (False, 1)


def test_a_failure_that_is_not_sampled_is_written_whole(recorded: Recorded) -> None:
    @workflow(sample=0)
    def orders(day: str) -> None:
        step(1)
        step(-1)

    with pytest.raises(ValueError, match="negative"):
        orders("monday")
    execution, nodes = recorded.one()
    assert execution.trigger_data == '{"day":"monday"}'
    assert [each.status for each in nodes] == ["success", "error"]
    assert "sampled" not in json.loads(execution.extra or "")


def test_what_gets_too_much_for_memory_is_written(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executions, "MOST_UNSAMPLED_NODES", 5)
    with workflow("orders", sample=0):
        for number in range(20):
            step(number)
    _, nodes = recorded.one()
    assert [each.output for each in nodes] == [str(number) for number in range(20)]


def test_inner_workflows_follow_the_sample_of_the_outer_one(recorded: Recorded) -> None:
    with workflow("outer", sample=0), workflow("inner", sample=1):
        step(1)
    assert [nodes for _, nodes in recorded.executions()] == [[], []]


def test_without_values_no_value_is_written(recorded: Recorded) -> None:
    @workflow(values=False)
    def orders(day: str) -> int:
        return step(1)

    orders("monday")
    execution, nodes = recorded.one()
    assert (execution.trigger_data, execution.result) == ("null", None)
    assert [(each.input, each.output, each.status) for each in nodes] == [(None, None, "success")]


def test_a_node_may_leave_its_values_out(recorded: Recorded) -> None:
    @node(capture_input=False)
    def without_input(number: int) -> int:
        return number

    @node(capture_output=False)
    def without_output(number: int) -> int:
        return number

    with workflow("orders"):
        without_input(1)
        without_output(2)
    _, nodes = recorded.one()
    assert [(each.input, each.output) for each in nodes] == [(None, "1"), ('{"number":2}', None)]


def test_secrets_are_gone_before_anything_is_written(recorded: Recorded) -> None:
    secret = "hunter2-hunter2"

    @node(f"login password={secret}")
    def login(password: str) -> None:
        raise ValueError(f"password={secret} refused")

    @workflow("orders", keys={"login": f"password={secret}"}, tags=[f"token={secret}"])
    def orders(api_key: str) -> None:
        set_result({"access_token": api_key})
        with node("outer", input={"authorization": api_key}):
            login(api_key)

    with pytest.raises(ValueError, match="refused"):
        orders(secret)
    assert "[scrubbed:" in repr(recorded.executions())
    files = b"".join(each.read_bytes() for each in recorded.path.parent.glob("executions.db*"))
    assert secret.encode() not in files


def test_long_nodes_are_seen_while_they_run(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowwatch_client.client.LONG_SECONDS", 0.1)
    with workflow("orders"), node("long", input={"password": "hunter2-hunter2"}) as long:
        deadline = time.monotonic() + 10
        while not (seen := recorded.one()[1]) and time.monotonic() < deadline:
            time.sleep(0.05)
        long.set_output({"token": "hunter2-hunter2"})
    assert [(each.status, each.completed_at) for each in seen] == [("running", None)]
    _, nodes = recorded.one()
    assert [(each.status, each.row_id) for each in nodes] == [("success", seen[0].row_id)]
    assert "hunter2" not in repr(nodes)


def test_a_secret_at_the_cut_of_a_line_or_a_key_goes(recorded: Recorded) -> None:
    secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
    with workflow("orders") as run:
        run.add_line({"message": "x" * 1_980 + " " + secret})
        run.set_keys(order="x" * 235 + " " + secret)
    execution, _ = recorded.one()
    told = f"{execution.extra} {execution.keys}"
    assert "sk_live" not in told
    assert "[scrubbed:str" in told


def test_log_lines_stay_with_the_execution(recorded: Recorded) -> None:
    handler = FlowwatchHandler()
    logger = logging.getLogger("orders")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        logger.info("outside")
        with workflow("orders"):
            logger.info("read %d of password=hunter2-hunter2", 3)
            with node("send"):
                logger.warning("slow")
            for number in range(300):
                logger.info("line %d", number)
    finally:
        logger.removeHandler(handler)
    execution, _ = recorded.one()
    lines = json.loads(execution.extra or "")["log"]
    assert len(lines) == 200
    assert lines[-1]["message"] == "line 299"
    with workflow("orders"), node("send"):
        logger.addHandler(handler)
        logger.warning("password=hunter2-hunter2")
        logger.removeHandler(handler)
    execution, _ = recorded.executions()[1]
    (line,) = json.loads(execution.extra or "")["log"]
    assert (line["level"], line["logger"], line["nodeId"]) == ("WARNING", "orders", "send")
    assert "hunter2" not in line["message"]
