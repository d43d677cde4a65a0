"""The same thing told by many at once is stored once, and everybody is told so."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.config.servers import WebServer
from tests.races.conftest import Stored
from tests.races.senders import Connection, Crowd, Told

IDS, SENDERS, WORKFLOWS = 200, 20, 20


def full(workflow: str, execution: str | None, **more: Any) -> dict[str, Any]:
    message = {"workflowId": workflow, "status": "success", "durationMs": 40, **more}
    return message if execution is None else {"id": execution, **message}


def posting(path: str, body: Any, **headers: str) -> Callable[[Connection], Told]:
    return lambda connection: connection.call("POST", path, body, **headers)


def messages() -> list[dict[str, Any]]:
    nodes = [{"nodeId": "a", "status": "success", "durationMs": 7}]
    return [
        full(f"workflow-{number % WORKFLOWS}", f"run-{number}", nodeExecutions=nodes)
        for number in range(IDS)
    ]


def statuses(heard: list[list[Told]]) -> Counter[tuple[tuple[int, int], ...]]:
    """How often each mixture of statuses was heard about one id."""
    return Counter(tuple(sorted(Counter(one.status for one in told).items())) for told in heard)


def test_200_ids_of_20_senders_each(server: WebServer, stored: Stored) -> None:
    """Workflows are new, too: both processes meet them at the same moment."""
    crowd = Crowd(server.port, stored.token, SENDERS)
    heard = crowd.all_send([posting("/api/executions", each) for each in messages()])
    assert statuses(heard) == {((200, SENDERS - 1), (201, 1)): IDS}
    assert all(len({one.body["id"] for one in told}) == 1 for told in heard), "one id for all"
    assert stored.sender_ids() == {f"run-{number}": 1 for number in range(IDS)}
    assert set(stored.events_by_execution().values()) == {1}
    counted = {name: numbers.execution_count for name, numbers in stored.statistics().items()}
    assert counted == {f"workflow-{number}": IDS // WORKFLOWS for number in range(WORKFLOWS)}
    assert stored.differences() == []


def test_one_idempotency_key_is_one_execution(server: WebServer, stored: Stored) -> None:
    crowd, keys = Crowd(server.port, stored.token, SENDERS), 40
    heard = crowd.all_send(
        [
            posting(
                "/api/executions", full("w", None, result=number), Idempotency_Key=f"k-{number}"
            )
            for number in range(keys)
        ]
    )
    assert statuses(heard) == {((200, SENDERS - 1), (201, 1)): keys}
    assert stored.sender_ids() == {None: keys}
    assert set(stored.events_by_execution().values()) == {1}
    assert stored.statistics()["w"].execution_count == keys
    assert stored.differences() == []


def test_the_same_ids_twice_in_batches_that_meet(server: WebServer, stored: Stored) -> None:
    lines = [full("w", f"run-{number}") for number in range(100)]
    random.Random(1).shuffle(lines)
    batches = [lines + lines[::-1], lines[::-1] + lines]
    crowd = Crowd(server.port, stored.token, 8)
    heard = crowd.all_send([posting("/api/executions/batch", each) for each in batches])
    assert statuses(heard) == {((200, 8),): 2}
    results = [line["result"] for told in heard for one in told for line in _lines(one)]
    assert Counter(results) == {"created": 100, "unchanged": 2 * 8 * 200 - 100}
    assert stored.sender_ids() == {f"run-{number}": 1 for number in range(100)}
    assert stored.statistics()["w"].execution_count == 100
    assert stored.differences() == []


def _lines(told: Told) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = told.body["results"]
    return found


STORY: tuple[dict[str, Any], ...] = (
    {"status": "running", "startedAt": "2026-11-01T10:00:00Z", "updatedAt": "2026-11-01T10:00:01Z"},
    {
        "status": "running", "updatedAt": "2026-11-01T10:00:02Z",
        "nodeExecutions": [{"nodeId": "a", "runIndex": 0, "status": "running"}],
    },
    {
        "status": "running", "updatedAt": "2026-11-01T10:00:03Z",
        "nodeExecutions": [{"nodeId": "a", "runIndex": 0, "status": "success", "output": [1]}],
    },
    {
        "status": "error", "startedAt": "2026-11-01T10:00:00Z",
        "completedAt": "2026-11-01T10:00:09Z", "error": {"message": "no", "nodeId": "b"},
        "nodeExecutions": [{"nodeId": "b", "runIndex": 0, "status": "error", "input": [1]}],
    },
    {
        "status": "success", "startedAt": "2026-11-01T10:00:00Z",
        "completedAt": "2026-11-01T10:00:12Z", "version": "8", "tags": ["late"],
    },
)  # fmt: skip


def test_messages_that_meet_end_where_messages_in_order_end(
    server: WebServer, stored: Stored
) -> None:
    """30 executions, each told of by five messages over as many connections at once, shuffled."""
    number_of, order = 30, random.Random(7)
    shuffled = [order.sample(STORY, len(STORY)) for _ in range(number_of)]
    alone = Connection(server.port, stored.token)
    for part in STORY:
        alone.call("POST", "/api/executions", {"id": "told", "workflowId": "in-order", **part})

    def tell(sender: int, connection: Connection) -> None:
        for number, parts in enumerate(shuffled):
            message = {"id": f"run-{number}", "workflowId": "at-once", **parts[sender]}
            assert connection.call("POST", "/api/executions", message).status in (200, 201)

    Crowd(server.port, stored.token, len(STORY)).each_does(tell)
    expected = _state(alone, "told")
    assert expected["status"] == "success"
    for number in range(number_of):
        assert _state(alone, f"run-{number}") == expected
    assert stored.differences() == []
    in_order, at_once = (stored.statistics()[name] for name in ("in-order", "at-once"))
    assert at_once.execution_count == number_of * in_order.execution_count
    assert at_once.success_count == number_of * in_order.success_count


def _state(connection: Connection, execution: str) -> dict[str, Any]:
    told = connection.call("GET", f"/api/executions/{execution}")
    assert told.status == 200
    own = ("id", "externalId", "workflowId", "workflowName", "createdAt")
    return {name: value for name, value in told.body.items() if name not in own}


def test_deleting_while_others_tell_more(server: WebServer, stored: Stored) -> None:
    """Whoever wins, the numbers are those of what is left, and nothing is left of what is gone."""
    ids, rounds = [f"run-{number}" for number in range(25)], 4
    unexpected: list[tuple[str, Told]] = []

    def act(sender: int, connection: Connection) -> None:
        order = random.Random(sender)
        for turn in range(rounds):
            for execution in order.sample(ids, len(ids)):
                if sender % 3 == 0:
                    told = connection.call("DELETE", f"/api/executions/{execution}")
                    fine = told.status in (200, 404)
                else:
                    part = STORY[(sender + turn) % len(STORY)]
                    message = {"id": execution, "workflowId": f"w-{execution[-1]}", **part}
                    told = connection.call("POST", "/api/executions", message)
                    fine = told.status in (200, 201)
                if not fine:
                    unexpected.append((execution, told))

    Crowd(server.port, stored.token, 9).each_does(act)
    assert unexpected == []
    assert stored.orphans() == {"ExecutionKey": 0, "NodeExecution": 0}
    assert set(stored.sender_ids().values()) <= {1}
    counted = sum(numbers.execution_count for numbers in stored.statistics().values())
    assert counted == sum(stored.sender_ids().values())
    assert stored.differences() == []


def test_the_test_would_see_ids_that_are_looked_up_first(stored: Stored) -> None:
    """A mutant: SELECT, then INSERT without ON CONFLICT. Two processes meet between the two."""
    mutant = {
        "DJANGO_SETTINGS_MODULE": "tests.races.mutants.settings",
        "MUTANT": "look-then-insert",
    }
    with WebServer(**mutant) as server:
        crowd = Crowd(server.port, stored.token, SENDERS)
        # (Half of the ids will do: about every fourth shows it.)
        heard = crowd.all_send(
            [posting("/api/executions", each) for each in messages()[: IDS // 2]]
        )
    with pytest.raises(AssertionError):
        assert statuses(heard) == {((200, SENDERS - 1), (201, 1)): IDS // 2}


def test_a_quota_holds_for_all_processes_together(server: WebServer, stored: Stored) -> None:
    stored.tenant.executions_per_minute = 60
    stored.tenant.save()
    crowd = Crowd(server.port, stored.token, SENDERS)
    heard = crowd.all_send([posting("/api/executions", full("w", None))] * 10)
    told = Counter(one.status for each in heard for one in each)
    assert told.keys() == {201, 429}
    # One a second is forgotten meanwhile.
    assert 60 <= told[201] <= 90
    assert sum(stored.sender_ids().values()) == told[201]
