"""What a long history is made of: workflows, how often they run, how and when they fail.

Every shape (one outcome of one workflow) is a message that passed the real way in once; the history
repeats it with other times.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import random
from collections.abc import Iterator
from typing import Any, Final

NODES: Final = 5
_KINDS: Final = (
    ("Read orders", "n8n-nodes-base.httpRequest", 420),
    ("Look customer up", "n8n-nodes-base.postgres", 35),
    ("Choose template", "n8n-nodes-base.switch", 3),
    ("Ask the model", "@n8n/n8n-nodes-langchain.openAi", 2_400),
    ("Write row", "n8n-nodes-base.googleSheets", 650),
    ("Send message", "n8n-nodes-base.slack", 210),
    ("Merge", "n8n-nodes-base.merge", 4),
    ("Update contact", "n8n-nodes-base.hubspot", 380),
    ("Create invoice", "n8n-nodes-base.stripe", 510),
    ("Store file", "n8n-nodes-base.awsS3", 160),
)
_ERRORS: Final = (
    "connect ETIMEDOUT 10.0.{n}.7:443",
    "429 Too Many Requests: retry after {n} s",
    "401 Unauthorized: the token of {name} has expired",
    "Cannot read properties of undefined (reading 'email') in item {n}",
    'duplicate key value violates unique constraint "{name}_pkey"',
    "The card of customer {n} was declined",
    "Request failed with status code 503",
    "JSON parameter needs to be valid JSON (line {n})",
)
_VARIANTS: Final = 4  # successes of one workflow whose inputs and outputs differ


@dataclasses.dataclass(frozen=True, slots=True)
class Burst:
    """A time in which a workflow fails often; milliseconds since 1970."""

    start: int
    end: int
    share: float
    failure: int


@dataclasses.dataclass(frozen=True, slots=True)
class Workflow:
    """One workflow: its share of all executions, its usual failures, its bad times."""

    number: int
    weight: float
    failure_share: float
    bursts: tuple[Burst, ...]
    failures: tuple[str, ...]
    nodes: tuple[tuple[str, str, int], ...]

    @property
    def external_id(self) -> str:
        return f"history-{self.number}"

    @property
    def outcomes(self) -> int:
        """So many shapes: successes first, then one for each kind of failure."""
        return _VARIANTS + len(self.failures)

    def outcome_at(self, at: int, rng: random.Random) -> int:
        """Which shape an execution that starts then has."""
        drawn = rng.random()
        for burst in self.bursts:
            if burst.start <= at < burst.end and drawn < burst.share:
                return _VARIANTS + burst.failure
        if drawn < self.failure_share:
            return _VARIANTS + int(drawn * 1e6) % len(self.failures)
        return int(drawn * 1e6) % _VARIANTS

    def message(self, outcome: int, start: dt.datetime) -> dict[str, Any]:
        """The shape as its sender would tell it."""
        rng = random.Random(f"{self.number} {outcome}")
        failure = self.failures[outcome - _VARIANTS] if outcome >= _VARIANTS else ""
        last = NODES - 1 if not failure else rng.randrange(1, NODES)
        nodes = list(self._nodes(start, last, failure, rng))
        body: dict[str, Any] = {
            "id": f"{self.number:06}{outcome:06}",
            "workflowId": self.external_id,
            "workflowName": f"{self.nodes[0][0]} and {self.nodes[-1][0].lower()} {self.number}",
            "status": "failed" if failure else "success",
            "startedAt": start.isoformat(),
            "completedAt": nodes[-1]["completedAt"],
            "trigger": {"type": "webhook", "data": _item(rng)},
            "nodeExecutions": nodes,
        }
        if failure:
            stack = (
                f"NodeApiError: {failure}\n" + "    at ExecuteContext.execute (node.ts:88:21)\n" * 6
            )
            body["error"] = {"message": failure, "stack": stack, "nodeId": f"n{last}"}
        return body

    def _nodes(
        self, start: dt.datetime, last: int, failure: str, rng: random.Random
    ) -> Iterator[dict[str, Any]]:
        given = [_item(rng)]
        for place, (name, kind, median_ms) in enumerate(self.nodes[: last + 1]):
            lasts = max(1, round(median_ms * rng.lognormvariate(0, 0.4)))
            end = start + dt.timedelta(milliseconds=lasts)
            made = [_item(rng) for _ in range(rng.randint(1, 3))]
            fails = bool(failure) and place == last
            yield {
                "nodeId": f"n{place}",
                "nodeName": name,
                "nodeType": kind,
                "status": "failed" if fails else "success",
                "startedAt": start.isoformat(),
                "completedAt": end.isoformat(),
                "input": given,
                **({"error": {"message": failure}} if fails else {"output": made}),
            }
            start, given = end, made


def _item(rng: random.Random) -> dict[str, Any]:
    number = rng.randrange(10_000, 99_999)
    return {
        "order": number,
        "email": f"customer{number}@example.com",
        "total": round(rng.uniform(5, 900), 2),
        "lines": [{"sku": f"SKU-{rng.randrange(1000):04}", "quantity": rng.randint(1, 5)}],
    }


def make_workflows(count: int, first: int, end: int, seed: int = 1) -> list[Workflow]:
    """So many workflows of a time from `first` to `end` (ms since 1970), the most popular first.

    Popularity follows Zipf's law: the second runs half as often as the first, the hundredth a
    hundredth as often. One in twenty always fails often; each has some bursts in which it does.
    """
    return [
        _workflow(number, first, end, random.Random(f"{seed} {number}")) for number in range(count)
    ]


def _workflow(number: int, first: int, end: int, rng: random.Random) -> Workflow:
    def failure() -> str:
        text = rng.choice(_ERRORS)
        return text.format(n=rng.randrange(2, 250), name=f"table{number}")

    failures = tuple(failure() for _ in range(3))
    bursts = []
    for _ in range(rng.randint(0, 6)):
        start = rng.randrange(first, end)
        lasts = int(rng.lognormvariate(0, 1.2) * 3_600_000)
        bursts.append(Burst(start, start + lasts, rng.uniform(0.3, 1.0), rng.randrange(3)))
    return Workflow(
        number=number,
        weight=1 / (number + 1),
        failure_share=rng.uniform(0.3, 0.8) if rng.random() < 0.05 else rng.uniform(0, 0.03),
        bursts=tuple(bursts),
        failures=failures,
        nodes=tuple(rng.choice(_KINDS) for _ in range(NODES)),
    )


def encoded(message: dict[str, Any]) -> bytes:
    """The body of a message."""
    return json.dumps(message).encode()
