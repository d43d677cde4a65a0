"""Many messages in one call: a result for every line, chunks, limits, bombs, cuts, repetition."""

from __future__ import annotations

import dataclasses
import datetime as dt
import gzip
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import pytest
import zstandard
from django.db import OperationalError
from django.test import RequestFactory
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from monitoring.api import batch, examples, lines
from monitoring.api.bodies import BodyStream
from monitoring.api.lines import Messages
from monitoring.recording import store
from monitoring.recording.record import ExecutionRecord, Result
from tests.monitoring.api.conftest import Api, counts
from tests.monitoring.api.conftest import lines as ndjson

pytestmark = pytest.mark.store

BATCH = "/api/executions/batch"
NDJSON = {"content_type": "application/x-ndjson"}


def message(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"e{number}", "workflowId": "w", "status": "success", **fields}


def results(answer: Any) -> list[tuple[int, str]]:
    assert answer.status_code == 200, answer.content
    body = answer.json()
    listed = [(each["line"], each["result"]) for each in body["results"]]
    summed = {word: [each for _, each in listed].count(word) for word in body["summary"]}
    assert body["summary"] == summed
    return listed


@pytest.mark.django_db
def test_both_shapes_in_lines_or_an_array(api: Api) -> None:
    messages = [examples.FULL_EXECUTION, examples.SHORT_LOG | {"workflowId": "wf-7"}]
    assert results(api.post(BATCH, messages)) == [(1, "created"), (2, "created")]
    again = api.post(BATCH, ndjson(messages), **NDJSON)
    assert results(again) == [(1, "unchanged"), (2, "created")]
    assert {row["workflow_id"] for row in api.get("/api/workflows")["data"]} == {
        "orders-intake",
        "wf-7",
    }


@pytest.mark.django_db
def test_a_broken_line_is_rejected_and_harms_no_other(api: Api) -> None:
    body = b"\n".join(
        [
            json.dumps(message(1)).encode(),
            b"{broken",
            b"",
            b"\xff\xfe",
            b"[1]",
            json.dumps({"workflowId": "w", "status": "no such"}).encode(),
            json.dumps(message(2)).encode() + b"\r",
        ]
    )
    answer = api.post(BATCH, body, **NDJSON)
    assert results(answer) == [
        (1, "created"),
        (2, "rejected"),
        (4, "rejected"),
        (5, "rejected"),
        (6, "rejected"),
        (7, "created"),
    ]
    reasons = [each["reason"] for each in answer.json()["results"]]
    assert reasons[0] is None
    assert "status" in reasons[4]


@pytest.mark.django_db
def test_a_line_that_is_too_old_is_rejected_alone(api: Api) -> None:
    old = message(1) | {"startedAt": (timezone.now() - dt.timedelta(days=92)).isoformat()}
    answer = api.post(BATCH, [old, message(2)])
    assert results(answer) == [(1, "rejected"), (2, "created")]
    assert "kept for 90 days" in answer.json()["results"][0]["reason"]


@pytest.mark.django_db
@pytest.mark.parametrize("body", [b"[]", b" [ ] \n"])
def test_an_empty_array_is_fine(api: Api, body: bytes) -> None:
    assert results(api.post(BATCH, body)) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"a": [1]}', b"[", b'[{"id": "1"}', b"[1] 2", b'["', b'["\\', b"null", b"\xff"],
)
def test_what_is_no_whole_array_is_400_and_stores_nothing(api: Api, body: bytes) -> None:
    before = counts()
    assert api.post(BATCH, body).status_code == 400
    assert counts() == before


@pytest.mark.django_db
def test_items_that_are_no_messages_are_rejected_alone(api: Api) -> None:
    body = b'[1, "a,]", null, [{"x": "]"}], {"a": 1]}, ,%s,]' % json.dumps(message(1)).encode()
    assert [word for _, word in results(api.post(BATCH, body))] == [
        *["rejected"] * 6,
        "created",
        "rejected",
    ]


@pytest.mark.django_db
@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_batch_may_be_packed(api: Api, pack: Any) -> None:
    encoding = "gzip" if pack is gzip.compress else "zstd"
    body = pack(ndjson([message(number) for number in range(30)]))
    answer = api.post(BATCH, body, Content_Encoding=encoding, **NDJSON)
    assert {word for _, word in results(answer)} == {"created"}


@pytest.mark.django_db
def test_a_key_holds_for_each_line(api: Api) -> None:
    logs = [{"workflowId": "w", "status": "success"} for _ in range(5)]
    first = api.post(BATCH, ndjson(logs[:3]), Idempotency_Key="k", **NDJSON)
    assert {word for _, word in results(first)} == {"created"}
    again = api.post(BATCH, ndjson(logs), Idempotency_Key="k", **NDJSON)
    assert [word for _, word in results(again)] == [*["unchanged"] * 3, *["created"] * 2]
    other = api.post(BATCH, ndjson([logs[0] | {"status": "failed"}]), Idempotency_Key="k", **NDJSON)
    assert results(other) == [(1, "rejected")]


@pytest.mark.django_db
def test_one_batch_may_say_several_things_about_one_execution(api: Api) -> None:
    told = [message(1, status="success", durationMs=9), message(1, status="running")]
    answer = api.post(BATCH, ndjson(told), **NDJSON)
    assert results(answer) == [(1, "created"), (2, "unchanged")], answer.content
    assert len({each["id"] for each in answer.json()["results"]}) == 1
    assert api.get("/api/executions/e1")["status"] == "success"


# --- chunks and the database --------------------------------------------------------------------


class FailingStore:
    """Stores, but for the chunks with these numbers (from 0)."""

    def __init__(self, *failing: int) -> None:
        self.failing = failing
        self.sizes: list[int] = []

    def __call__(self, records: Sequence[ExecutionRecord]) -> list[Result]:
        self.sizes.append(len(records))
        if len(self.sizes) - 1 in self.failing:
            raise OperationalError("gone")
        return STORE(records)


STORE = store.record_executions


@pytest.mark.django_db
def test_chunks_have_at_most_1000_lines_and_fail_alone(api: Api) -> None:
    messages = [message(number) for number in range(2_300)]
    failing = FailingStore(1)
    with mock.patch.object(store, "record_executions", failing):
        answer = api.post(BATCH, ndjson(messages), **NDJSON)
    assert failing.sizes == [1_000, 1_000, 300]
    words = [word for _, word in results(answer)]
    assert words == [*["created"] * 1_000, *["failed"] * 1_000, *["created"] * 300]
    again = api.post(BATCH, ndjson(messages), **NDJSON)
    assert answer.json()["summary"]["failed"] == again.json()["summary"]["created"] == 1_000


@pytest.mark.django_db
def test_503_only_when_nothing_was_stored(api: Api) -> None:
    with mock.patch.object(store, "record_executions", FailingStore(0)):
        answer = api.post(BATCH, ndjson([message(1), message(2)]), **NDJSON)
    assert answer.status_code == 503
    assert answer["Retry-After"]


@pytest.mark.django_db
def test_batches_of_one_tenant_leave_threads_for_others(
    api: Api, rival: Api, settings: Settings
) -> None:
    settings.WEB_THREADS = 2
    stored = batch._stored
    meanwhile: list[tuple[int, str | None]] = []

    def storing(*arguments: Any) -> Iterator[list[batch.LineResult]]:
        if not meanwhile:
            for caller in (api, rival):
                answer = caller.post(BATCH, [message(1)])
                meanwhile.append((answer.status_code, answer.headers.get("Retry-After")))
        return stored(*arguments)

    with mock.patch.object(batch, "_stored", storing):
        assert results(api.post(BATCH, [message(1)])) == [(1, "created")]
    assert [status for status, _ in meanwhile] == [503, 200]
    assert meanwhile[0][1] == "2"
    assert results(api.post(BATCH, [message(2)])) == [(1, "created")]


@pytest.mark.django_db
def test_a_database_that_stays_away_is_not_asked_for_every_chunk(api: Api) -> None:
    failing = FailingStore(*range(10))
    with mock.patch.object(store, "record_executions", failing):
        answer = api.post(BATCH, ndjson([message(n) for n in range(5_000)]), **NDJSON)
    assert answer.status_code == 503
    assert len(failing.sizes) == 2


# --- limits -------------------------------------------------------------------------------------


@pytest.fixture
def _small_limits(settings: Settings) -> None:
    settings.LIMITS = dataclasses.replace(
        settings.LIMITS, batch_bytes=200_000, batch_lines=100, body_bytes=10_000
    )


def bomb(size: int) -> bytes:
    return b"[" + b" " * size + b"]"


@pytest.mark.django_db
@pytest.mark.usefixtures("_small_limits")
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ndjson([message(n) for n in range(101)]), NDJSON),
        (b"\n" * 101, NDJSON),
        (json.dumps([message(n) for n in range(101)]).encode(), {}),
        (b"x" * 200_001, NDJSON),
        (gzip.compress(bomb(200_000)), {"Content_Encoding": "gzip"}),
        (zstandard.ZstdCompressor().compress(bomb(200_000)), {"Content_Encoding": "zstd"}),
        (gzip.compress(b"\n" * 5_000_000), {"Content_Encoding": "gzip", **NDJSON}),
    ],
    ids=["lines", "empty lines", "items", "bytes", "gzip", "zstd", "packed lines"],
)
def test_too_much_is_413_and_stores_nothing(api: Api, body: bytes, headers: dict[str, str]) -> None:
    before = counts()
    assert api.post(BATCH, body, **headers).status_code == 413
    assert counts() == before


@pytest.mark.django_db
@pytest.mark.usefixtures("_small_limits")
def test_exactly_the_limit_of_lines_is_fine(api: Api) -> None:
    assert len(results(api.post(BATCH, ndjson([message(n) for n in range(100)]), **NDJSON))) == 100


@pytest.mark.django_db
@pytest.mark.usefixtures("_small_limits")
def test_a_line_that_is_too_long_is_rejected_alone(api: Api) -> None:
    told = [message(1, trigger={"data": "x" * 10_000}), message(2)]
    assert results(api.post(BATCH, ndjson(told), **NDJSON)) == [(1, "rejected"), (2, "created")]


@pytest.mark.django_db
def test_a_batch_cut_off_in_its_packing_is_400_and_stores_nothing(api: Api) -> None:
    body = ndjson([message(n, trigger={"data": random.random()}) for n in range(500)])
    before = counts()
    for encoding, packed in (
        ("gzip", gzip.compress(body)),
        ("zstd", zstandard.ZstdCompressor().compress(body)),
    ):
        answer = api.post(BATCH, packed[: len(packed) // 2], Content_Encoding=encoding, **NDJSON)
        assert answer.status_code == 400
    assert counts() == before


# --- finding messages ---------------------------------------------------------------------------


def found(body: bytes, *, is_array: bool, piece: int) -> list[bytes]:
    request = RequestFactory().generic("POST", "/", body)
    with (
        mock.patch.object(lines, "PIECE", piece),
        Messages(BodyStream(request, 10**9), is_array=is_array) as messages,
    ):
        return [text for _, text in messages if text is not None]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(JSON_VALUES, max_size=8), st.integers(1, 9), st.booleans())
def test_items_of_an_array_are_found_wherever_pieces_end(
    values: list[Any], piece: int, escapes: bool
) -> None:
    body = json.dumps(values, ensure_ascii=escapes).encode("utf-8", "surrogatepass")
    items = found(body, is_array=True, piece=piece)
    assert [json.loads(item.decode("utf-8", "surrogatepass")) for item in items] == values


@given(st.lists(st.binary(max_size=12), max_size=9), st.integers(1, 7))
def test_lines_are_found_wherever_pieces_end(parts: list[bytes], piece: int) -> None:
    body = b"\n".join(parts)
    expected = [line.strip(b" \t\r\n") for line in body.split(b"\n")]
    assert found(body, is_array=False, piece=piece) == [line for line in expected if line]
