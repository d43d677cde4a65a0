"""Lets the example workflows run: messages as their providers would have sent them."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from monitoring.example.model import (
    ExampleFailure,
    ExampleNode,
    ExampleWorkflow,
    Rhythm,
)
from monitoring.example.workflows import WORKFLOWS
from tenants.times import utc_text

DAYS = 30
# Share of a day's executions by hour (UTC) for what people cause: little at night, dip at noon.
_OFFICE_HOURS = (1, 1, 1, 1, 1, 2, 4, 8, 12, 14, 14, 13, 10, 12, 13, 13, 11, 9, 7, 6, 5, 4, 3, 2)
_WEEKEND = 0.35


@dataclass(frozen=True, slots=True)
class Message:
    """A message as API.md's full execution, and the slug of the environment that sends it."""

    environment: str
    body: dict[str, Any]
    started_at: dt.datetime
    sent_at: dt.datetime


def example_messages(now: dt.datetime, seed: int = 7) -> list[Message]:
    """Return 30 days of executions up to `now`, the oldest first; a function of its arguments."""
    messages: list[Message] = []
    for workflow in WORKFLOWS:
        rng = random.Random(f"{seed} {workflow.external_id}")  # noqa: S311 (invents, keeps no secret)
        messages += _History(workflow, now, rng).messages()
    return sorted(messages, key=lambda message: message.started_at)


@dataclass
class _History:
    """All executions of one workflow; `rng` decides everything that is not said."""

    workflow: ExampleWorkflow
    now: dt.datetime
    rng: random.Random
    made: list[Message] = field(default_factory=list)
    count: int = 0

    def messages(self) -> list[Message]:
        for start in _starts(self.workflow, self.now, self.rng):
            self._execution(start)
        for _ in range(self.workflow.running_now):
            self._unfinished(self.now - dt.timedelta(seconds=self.rng.randint(4, 90)), "running")
        for _ in range(self.workflow.waiting_now):
            self._unfinished(self.now - dt.timedelta(minutes=self.rng.randint(20, 400)), "waiting")
        return self.made

    def _execution(self, start: dt.datetime) -> None:
        """One execution, with the one it calls and its retry when it fails."""
        run = _Run(self, start, self._failure_at(start))
        if run.ends_after(self.now):
            return
        first = run.finished()
        self._keep(first, start, run.end)
        child = self.workflow.child
        if child is not None and (called_at := run.started.get(self.workflow.child_node)):
            parent = {"executionId": first["id"], "nodeId": self.workflow.child_node}
            self._child(child, called_at, parent)
        if run.failure is not None and run.failure.retried is not None:
            self._retry(run, first)

    def _retry(self, failed: _Run, first: dict[str, Any]) -> None:
        assert failed.failure is not None
        assert failed.failure.retried is not None
        again = failed.end + dt.timedelta(seconds=self.rng.randint(20, 90))
        succeeds = self.rng.random() < failed.failure.retried
        run = _Run(self, again, None if succeeds else failed.failure)
        if run.ends_after(self.now):
            return
        self._keep(run.finished(attempt=2, retryOf=first["id"]), again, run.end)

    def _child(self, child: ExampleWorkflow, start: dt.datetime, parent: dict[str, str]) -> None:
        history = _History(child, self.now, self.rng, self.made, self.count + 500_000)
        run = _Run(history, start, history._failure_at(start))
        if not run.ends_after(self.now):
            history._keep(run.finished(parent=parent), start, run.end)

    def _unfinished(self, start: dt.datetime, status: str) -> None:
        self._keep(_Run(self, start, None).unfinished(status), start, self.now)

    def _failure_at(self, start: dt.datetime) -> ExampleFailure | None:
        hours = (self.now - start) / dt.timedelta(hours=1)
        for failure in self.workflow.failures:
            happens = failure.until_hours <= hours < failure.since_hours
            if happens and self.rng.random() < failure.share:
                return failure
        return None

    def _keep(self, body: dict[str, Any], start: dt.datetime, sent_at: dt.datetime) -> None:
        self.made.append(Message(self.workflow.environment, body, start, sent_at))

    def next_id(self) -> str:
        self.count += 1
        return f"{self.workflow.external_id}-{10_000 + self.count}"

    def version_at(self, start: dt.datetime) -> str:
        is_new = self.now - start < dt.timedelta(hours=self.workflow.new_since_hours)
        return self.workflow.new_version if is_new else self.workflow.version


class _Run:
    """One execution: walks the nodes from `start` on until they end or `failure` stops them."""

    def __init__(
        self, history: _History, start: dt.datetime, failure: ExampleFailure | None
    ) -> None:
        self.history, self.start, self.failure = history, start, failure
        self.workflow, self.rng = history.workflow, history.rng
        make_data = self.workflow.trigger_data
        self.trigger_data = None if make_data is None else make_data(self.rng)
        self.started: dict[str, dt.datetime] = {}
        self.nodes = list(self._walk())
        self.end = self._latest_end

    def ends_after(self, moment: dt.datetime) -> bool:
        return self.end > moment

    def finished(self, **more: Any) -> dict[str, Any]:
        """Return the message of the finished execution."""
        body = self._head(self._status()) | {
            "completedAt": utc_text(self.end),
            "durationMs": _milliseconds(self.end - self.start),
            "nodeExecutions": self.nodes,
            **more,
        }
        if self.failure is not None:
            body["error"] = {**_error_of(self.failure), "nodeId": self.failure.node}
        return body

    def unfinished(self, status: str) -> dict[str, Any]:
        """Return the message of an execution that has come as far as its longest node."""
        longest = max(self.workflow.nodes, key=lambda node: node.median_ms)
        reached = next(i for i, node in enumerate(self.nodes) if node["nodeId"] == longest.id)
        last = {
            key: value
            for key, value in self.nodes[reached].items()
            if key not in ("completedAt", "durationMs", "output")
        }
        nodes = [*self.nodes[:reached], last | {"status": status}]
        return self._head(status) | {"nodeExecutions": nodes}

    def _status(self) -> str:
        if self.failure is None:
            return "success"
        return "partial" if self.failure.partial else "failed"

    def _head(self, status: str) -> dict[str, Any]:
        trigger = {"type": self.workflow.trigger}
        if self.trigger_data is not None:
            trigger["data"] = self.trigger_data
        return {
            "id": self.history.next_id(),
            "workflowId": self.workflow.external_id,
            "workflowName": self.workflow.name,
            "status": status,
            "startedAt": utc_text(self.start),
            "trigger": trigger,
            "version": self.history.version_at(self.start),
            "tags": list(self.workflow.tags),
        }

    def _walk(self) -> Iterator[dict[str, Any]]:
        clock, given = self.start, self.trigger_data
        self._latest_end = clock
        for node in self.workflow.nodes:
            fails = self.failure if self.failure and self.failure.node == node.id else None
            for run_index in range(node.runs):
                failing = fails if run_index == node.runs - 1 else None
                clock += dt.timedelta(milliseconds=self.rng.randint(1, 6))
                self.started[node.id] = clock
                lasts = self._duration(node, failing)
                made = None if failing else node.output(self.rng, given)
                yield self._node(node, run_index, clock, lasts, given, made, failing)
                clock += dt.timedelta(milliseconds=lasts)
                self._latest_end = clock
                given = given if made is None else made
            if fails is not None and not fails.partial:
                return

    def _duration(self, node: ExampleNode, failing: ExampleFailure | None) -> int:
        if failing is not None and failing.duration_ms is not None:
            return failing.duration_ms + self.rng.randint(0, 40)
        return max(1, round(node.median_ms * math.exp(self.rng.gauss(0, 0.35))))

    def _node(
        self,
        node: ExampleNode,
        run_index: int,
        start: dt.datetime,
        lasts: int,
        given: Any,
        made: Any,
        failing: ExampleFailure | None,
    ) -> dict[str, Any]:
        told: dict[str, Any] = {
            "nodeId": node.id,
            "nodeName": node.name,
            "nodeType": node.type,
            "runIndex": run_index,
            "status": "success" if failing is None else "failed",
            "startedAt": utc_text(start),
            "completedAt": utc_text(start + dt.timedelta(milliseconds=lasts)),
            "durationMs": lasts,
        }
        if given is not None:
            told["input"] = given
        if made is not None:
            told["output"] = made
        if failing is not None:
            told["error"] = _error_of(failing)
        return told


def _error_of(failure: ExampleFailure) -> dict[str, Any]:
    error: dict[str, Any] = {"message": failure.message}
    if failure.stack:
        error["stack"] = failure.stack
    if failure.http_code is not None:
        error["httpCode"] = failure.http_code
    return error


def _starts(
    workflow: ExampleWorkflow, now: dt.datetime, rng: random.Random
) -> Iterator[dt.datetime]:
    first = now - dt.timedelta(days=DAYS)
    if workflow.per_day == 0:
        return
    if workflow.rhythm is Rhythm.OFFICE:
        yield from _office_starts(workflow.per_day, first, now, rng)
        return
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    offset = dt.timedelta(hours=workflow.hour if workflow.rhythm is Rhythm.ONCE_A_DAY else 0)
    step = dt.timedelta(days=1) / workflow.per_day
    at = midnight + offset
    while at < now:
        if at >= first:
            yield at + dt.timedelta(milliseconds=rng.randint(15, 900))
        at += step


def _office_starts(
    per_day: float, first: dt.datetime, now: dt.datetime, rng: random.Random
) -> Iterator[dt.datetime]:
    """Draw the executions of each hour; the rate follows the hour and the weekday."""
    hour = first.replace(minute=0, second=0, microsecond=0)
    while hour < now:
        rate = per_day * _OFFICE_HOURS[hour.hour] / sum(_OFFICE_HOURS)
        rate *= _WEEKEND if hour.weekday() >= 5 else 1.25
        for _ in range(_poisson(rate, rng)):
            at = hour + dt.timedelta(seconds=rng.uniform(0, 3_600))
            if first <= at < now:
                yield at
        hour += dt.timedelta(hours=1)


def _poisson(mean: float, rng: random.Random) -> int:
    """Draw how many independent events happen when `mean` are expected (Knuth's method)."""
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def _milliseconds(span: dt.timedelta) -> int:
    return span // dt.timedelta(milliseconds=1)
