"""Exports: every match, streamed in pages, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterator
from typing import cast

import pytest
from django.http import StreamingHttpResponse
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from monitoring.models import Workflow
from monitoring.pages.export import COLUMNS, exported, safe_cell
from monitoring.words import Status
from tenants.streams import owner_in
from tests.monitoring.factories import (
    make_environment,
    make_execution,
    make_executions,
    make_tenant,
    make_workflow,
)

pytestmark = pytest.mark.django_db
EXPORT = "/t/agency/executions/export."


def body(response: object) -> str:
    streamed = cast(StreamingHttpResponse, response)
    assert streamed.status_code == 200
    return b"".join(cast(Iterator[bytes], streamed.streaming_content)).decode()


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("\0=1", "'\0=1"),
        ("  =1", "'  =1"),
        ("\u00a0=1", "'\u00a0=1"),
        ("\u3000=1", "'\u3000=1"),
        ("\ufeff=1", "'\ufeff=1"),
        ("＝1", "'＝1"),
        ("＋1", "'＋1"),
        ("－1", "'－1"),
        ("＠a", "'＠a"),
        ("\u22121", "'\u22121"),  # the minus sign
        ("﹢1", "'﹢1"),
        ("﹣1", "'﹣1"),
        ("﹦1", "'﹦1"),
        ("﹫a", "'﹫a"),
        ("⁼1", "'⁼1"),
        ("\u00ad=1", "'\u00ad=1"),  # soft hyphen
        ("\u200b\u200d\u2060=1", "'\u200b\u200d\u2060=1"),
        ("\u202e=1", "'\u202e=1"),  # turns the direction
        ("\u2028=1", "'\u2028=1"),
        ("\x0b=1", "'\x0b=1"),
        ("\x1b=1", "'\x1b=1"),
        ("\u2003\ufeff\u22121", "'\u2003\ufeff\u22121"),
        (" \t=1", "' \t=1"),
        ("\u00a0plain", "\u00a0plain"),
        ("–1", "–1"),  # a dash begins no formula
        ("٣ = three", "٣ = three"),
        ("plain = text", "plain = text"),
        ("'quoted", "'quoted"),
        ("", ""),
        ("   ", "   "),
        (None, ""),
        (-5, -5),
        (0, 0),
        (1.5, 1.5),
    ],
)
def test_no_cell_begins_a_formula(value: object, expected: object) -> None:
    assert safe_cell(value) == expected


@given(st.text(), st.sampled_from("=+-@"), st.text(max_size=3))
def test_whatever_is_not_seen_before_a_formula_saves_no_one(
    beginning: str, sign: str, rest: str
) -> None:
    unseen = "".join(c for c in beginning if unicodedata.category(c)[0] in "ZC")
    assert safe_cell(f"{unseen}{sign}{rest}") == f"'{unseen}{sign}{rest}"


@given(st.text())
def test_a_cell_is_the_text_or_the_text_behind_an_apostrophe(text: str) -> None:
    assert safe_cell(text) in (text, f"'{text}")


def test_csv_has_a_line_for_each_match(viewer: Client, workflow: Workflow) -> None:
    failed = make_execution(
        workflow, Status.FAILED, error_message='=HYPERLINK("x")\nsecond line', duration_ms=30_000
    )
    make_execution(workflow)
    response = viewer.get(f"{EXPORT}csv?status=failed")
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in response["Content-Disposition"]
    (row,) = table(body(response))
    assert row["id"] == str(failed.id)
    assert row["workflow"] == "Invoice sync"
    assert row["error_message"] == '\'=HYPERLINK("x")\nsecond line'
    assert row["duration_ms"] == "30000"
    assert row["error_class"] == "unknown"
    assert row["started_at"].endswith("Z")


def test_columns_are_what_is_exported(workflow: Workflow) -> None:
    assert tuple(exported(make_execution(workflow))) == COLUMNS


def test_ndjson_keeps_values_as_they_are(viewer: Client, workflow: Workflow) -> None:
    make_execution(workflow, external_id="=1+1", tags=["a"], keys={"order": "7"})
    (line,) = body(viewer.get(f"{EXPORT}ndjson")).splitlines()
    found = json.loads(line)
    assert found["external_id"] == "=1+1"
    assert found["duration_ms"] == 1_200
    assert (found["tags"], found["keys"]) == (["a"], {"order": "7"})


def test_an_export_goes_on_over_many_pages(viewer: Client, workflow: Workflow) -> None:
    ids = make_executions(workflow, 2_300)
    assert [row["id"] for row in table(body(viewer.get(f"{EXPORT}csv")))] == [
        str(one) for one in ids
    ]


def test_chosen_rows_alone_are_exported(viewer: Client, workflow: Workflow) -> None:
    ids = [str(one) for one in make_executions(workflow, 5)]
    foreign = make_execution(make_workflow(make_environment(make_tenant("stranger"))))
    chosen = {"id": [ids[1], ids[3], str(foreign.id), "nonsense"], "all_matching": ""}
    found = table(body(viewer.post(f"{EXPORT}csv", chosen)))
    assert [row["id"] for row in found] == [ids[1], ids[3]]
    every = table(body(viewer.post(f"{EXPORT}csv", chosen | {"all_matching": "1"})))
    assert len(every) == 5


def test_nothing_of_another_tenant_is_exported(viewer: Client, workflow: Workflow) -> None:
    make_execution(make_workflow(make_environment(make_tenant("stranger"))))
    assert table(body(viewer.get(f"{EXPORT}csv"))) == []
    assert viewer.get("/t/stranger/executions/export.csv").status_code == 404


def test_an_unknown_form_is_not_found(viewer: Client, workflow: Workflow) -> None:
    assert viewer.get(f"{EXPORT}xlsx").status_code == 404


def test_a_download_counts_for_the_person_and_the_tenant(
    viewer: Client, workflow: Workflow
) -> None:
    request = viewer.get(EXPORT + "csv").wsgi_request
    person = viewer.session["_auth_user_id"]
    assert owner_in(request.META) == (f"person {person}", workflow.tenant_id)
