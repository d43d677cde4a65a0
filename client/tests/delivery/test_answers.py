"""What an answer means for each line of a batch."""

from __future__ import annotations

import email.utils
import json
import time
from typing import Any

import pytest

from flowwatch_client.delivery.answers import MOST_RETRY_AFTER, Judged, Next, judge
from flowwatch_client.delivery.http import Answer
from flowwatch_client.delivery.message import Line

LINES = [Line("e1", b"{}", (1, 2), 2), Line("e\0two", b"{}", (3,), 1)]


def _results(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = [
        {"line": 1, "result": "created", "id": "x", "external_id": "e1", "reason": None},
        {"line": 2, "result": "updated", "id": "y", "external_id": "e\ufffdtwo", "reason": None},
    ]
    for result, change in zip(results, changes, strict=False):
        result.update(change)
    return results


def _judge(document: Any, status: int = 200, **headers: str) -> Judged:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return judge(Answer(status, headers, body), LINES)


def test_lines_that_are_named_as_stored_are_sent() -> None:
    judged = _judge({"summary": {}, "results": _results()})
    assert judged == Judged(Next.GO_ON, LINES, [], "")


def test_each_line_has_its_own_fate() -> None:
    rejected = {"result": "rejected", "external_id": None, "reason": "status: is required"}
    judged = _judge({"results": _results(rejected)})
    assert judged == Judged(Next.GO_ON, [LINES[1]], [(LINES[0], "status: is required")], "")
    judged = _judge({"results": _results({}, {"result": "failed", "reason": "later"})})
    assert judged == Judged(Next.AGAIN, [LINES[0]], [], "later")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"[" * 100_000,
        b"\xff\xfe",
        [],
        None,
        {},
        {"results": None},
        {"results": {}},
        {"results": [1, 2]},
        {"results": _results()[:1]},
        {"results": [*_results(), *_results()]},
        {"results": _results()[::-1]},
        {"results": _results({"line": 2})},
        {"results": _results({"line": True})},
        {"results": _results({"external_id": "another"})},
        {"results": _results({"external_id": None})},
        {"results": _results({"result": "stored"})},
        {"results": _results({"result": None})},
        {"results": _results({"result": ["created"]})},
        {"results": _results({"result": "rejected", "external_id": "another"})},
    ],
    ids=lambda document: str(document)[:40],
)
def test_anything_else_with_200_says_nothing(document: Any) -> None:
    judged = _judge(document)
    assert (judged.next, judged.sent, judged.refused) == (Next.AGAIN, (), ())
    assert judged.trouble


@pytest.mark.parametrize(
    ("status", "then"),
    [
        (201, Next.RARELY),
        (204, Next.RARELY),
        (301, Next.RARELY),
        (400, Next.RARELY),
        (401, Next.RARELY),
        (403, Next.RARELY),
        (404, Next.RARELY),
        (405, Next.RARELY),
        (408, Next.AGAIN),
        (413, Next.SMALLER),
        (422, Next.RARELY),
        (429, Next.AGAIN),
        (500, Next.AGAIN),
        (503, Next.AGAIN),
        (599, Next.AGAIN),
    ],
)
def test_nothing_is_sent_by_another_status(status: int, then: Next) -> None:
    judged = _judge({"results": _results(), "detail": "No."}, status)
    assert (judged.next, judged.sent, judged.refused) == (then, (), ())
    assert judged.trouble.startswith(f"{status} No.")


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize(
    "kind", ["application/problem+json", "Application/Problem+JSON; charset=x"]
)
def test_a_problem_of_flowwatch_refuses_the_body(status: int, kind: str) -> None:
    judged = _judge({"detail": "No."}, status, **{"content-type": kind})
    assert (judged.next, judged.is_own, judged.trouble) == (Next.SMALLER, True, f"{status} No.")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>"),
        ("application/json", b"{}"),
        ("application/problem+json", b"<html>"),
        ("application/problem+json", b"[]"),
    ],
)
def test_what_another_says_refuses_nothing(kind: str, body: bytes) -> None:
    judged = [_judge(body, status, **{"content-type": kind}) for status in (400, 413, 422)]
    assert [each.next for each in judged] == [Next.RARELY, Next.SMALLER, Next.RARELY]
    assert not any(each.is_own for each in judged)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("1e9", 0.0),
        ("²", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("9" * 500, MOST_RETRY_AFTER),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MOST_RETRY_AFTER),
    ],
)
def test_retry_after_is_bounded(text: str, seconds: float) -> None:
    assert _judge(b"", 429, **{"retry-after": text}).retry_after == seconds


def test_retry_after_may_be_a_date() -> None:
    soon = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert 20 < _judge(b"", 503, **{"retry-after": soon}).retry_after <= 30
