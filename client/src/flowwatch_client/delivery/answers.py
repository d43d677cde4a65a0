"""What an answer to a batch means for each of its lines.

Only a 2xx answer of Flowwatch's own shape that names every line counts; anything else (a page of a
captive portal, a cut list, results for other lines) says nothing about what was stored. In the same way
only Flowwatch's own problem (RFC 9457) refuses for good, not what a proxy says of a request.
"""

from __future__ import annotations

import dataclasses
import email.utils
import enum
import json
import time
from collections.abc import Sequence
from typing import Any

from flowwatch_client.delivery.http import Answer
from flowwatch_client.delivery.message import Line

MOST_RETRY_AFTER = 600.0
_STORED = frozenset({"created", "updated", "unchanged"})
_LONGEST_REASON = 1_000


class Next(enum.Enum):
    """What to do about lines that are neither sent nor refused."""

    GO_ON = "go on"
    AGAIN = "again, later"
    RARELY = "again, rarely: somebody has to change a setting"
    SMALLER = "again, in smaller parts"


@dataclasses.dataclass(frozen=True)
class Judged:
    """`trouble` says why lines are left over, for people; empty when none is."""

    next: Next
    sent: Sequence[Line] = ()
    refused: Sequence[tuple[Line, str]] = ()
    trouble: str = ""
    retry_after: float = 0.0
    """Seconds the server asked for."""
    is_own: bool = True
    """Whether Flowwatch says so; a single record that another finds too large waits."""


def judge(answer: Answer, lines: Sequence[Line]) -> Judged:
    """What became of the lines of a batch."""
    status = answer.status
    if status == 200:
        return _judge_results(answer, lines)
    said = f"{status} {_said(answer)}".strip()
    if status in (400, 413, 422):
        return _judge_refusal(answer, said)
    if status == 429 or status >= 500 or status in (408, 409, 425):
        return Judged(Next.AGAIN, trouble=said, retry_after=_retry_after(answer))
    return Judged(Next.RARELY, trouble=f"{said} {_ADVICE.get(status, '')}".strip())


def _judge_refusal(answer: Answer, said: str) -> Judged:
    """Of the whole body. Anybody's 413 says that it is too large; the rest only the server can say."""
    if _is_problem(answer):
        return Judged(Next.SMALLER, trouble=said)
    trouble = f"{said} (not Flowwatch's answer: look at what stands before the server)"
    then = Next.SMALLER if answer.status == 413 else Next.RARELY
    return Judged(then, trouble=trouble, is_own=False)


def _is_problem(answer: Answer) -> bool:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/problem+json" and isinstance(_json(answer), dict)


_ADVICE = {
    401: "(the token is unknown, expired or revoked: look at FLOWWATCH_TOKEN)",
    403: "(the token may not send: it needs the scope ingest)",
    404: "(no Flowwatch answers there: look at FLOWWATCH_URL)",
    301: "(redirects are not followed: look at FLOWWATCH_URL)",
    302: "(redirects are not followed: look at FLOWWATCH_URL)",
    307: "(redirects are not followed: look at FLOWWATCH_URL)",
    308: "(redirects are not followed: look at FLOWWATCH_URL)",
}


def _judge_results(answer: Answer, lines: Sequence[Line]) -> Judged:
    results = _results(answer)
    if results is None or len(results) != len(lines):
        return _foreign("an answer that is not Flowwatch's")
    sent: list[Line] = []
    refused: list[tuple[Line, str]] = []
    failed = ""
    for number, (line, result) in enumerate(zip(lines, results, strict=True), 1):
        outcome = str(result.get("result"))
        named = result.get("external_id")
        if _is_other_line(result.get("line"), number) or named not in (
            None,
            _as_stored(line.execution_id),
        ):
            return _foreign("an answer for other lines")
        reason = str(result.get("reason") or "")[:_LONGEST_REASON]
        if outcome in _STORED:
            if named is None:
                return _foreign("an answer that names no execution")
            sent.append(line)
        elif outcome == "rejected":
            refused.append((line, reason or "rejected"))
        elif outcome == "failed":
            failed = reason or "failed"
        else:
            return _foreign(f"a result of an unknown kind ({outcome[:50]!r})")
    return Judged(Next.AGAIN if failed else Next.GO_ON, sent, refused, failed)


def _foreign(what: str) -> Judged:
    return Judged(Next.AGAIN, trouble=f"200 with {what}; nothing counts as sent")


def _results(answer: Answer) -> list[dict[str, Any]] | None:
    document = _json(answer)
    results = document.get("results") if isinstance(document, dict) else None
    if isinstance(results, list) and all(isinstance(each, dict) for each in results):
        return results
    return None


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def _is_other_line(told: object, number: int) -> bool:
    return type(told) is not int or told != number


def _as_stored(execution_id: str) -> str:
    """PostgreSQL keeps no NUL."""
    return execution_id.replace("\0", "\ufffd")


def _said(answer: Answer) -> str:
    """The detail of a problem (RFC 9457), as far as the answer has one."""
    document = _json(answer)
    if not isinstance(document, dict):
        return ""
    detail = str(document.get("detail") or document.get("title") or "")
    return detail[:_LONGEST_REASON]


def _retry_after(answer: Answer) -> float:
    """Seconds (RFC 9110, 10.2.3: a number or a date), bounded; 0 when it does not say."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:10]), MOST_RETRY_AFTER)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    return min(max(at - time.time(), 0.0), MOST_RETRY_AFTER)
