"""The text of the query bar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.query_text import LONGEST, parse_query, query_text
from monitoring.words import Status

VALUE = st.text(min_size=1, max_size=30).filter(lambda value: value.strip() != "")
DURATION = st.from_regex(r"[0-9]{1,4} ?(ms|s|min|h)", fullmatch=True)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "status": st.lists(
            st.sampled_from([status.slug for status in Status]), min_size=1, unique=True
        ),
        **{
            name: VALUE.map(lambda value: [value])
            for name in (
                "workflow",
                "environment",
                "trigger",
                "version",
                "error",
                "fingerprint",
                "id",
                "tag",
            )
        },
        **{name: DURATION.map(lambda value: [value]) for name in ("min", "max")},
    },
)


@given(VALUES)
def test_what_is_written_is_understood_as_the_same(values: dict[str, list[str]]) -> None:
    found = parse_query(query_text(values))
    assert found.problems == []
    assert found.values == values


@given(st.text(max_size=200) | st.text(alphabet='a:"\\ <>=,status duration', max_size=60))
def test_any_text_is_understood_or_its_trouble_named(text: str) -> None:
    found = parse_query(text)
    if text.strip():
        assert found.values or found.problems
    if not found.problems:
        assert parse_query(query_text(found.values)).values == found.values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("  ", {}),
        (
            'status:failed workflow:"Sync*" duration:>30s error:"timed out" trigger:form env:prod',
            {
                "status": ["failed"],
                "workflow": ["Sync*"],
                "min": ["30s"],
                "error": ["timed out"],
                "trigger": ["form"],
                "environment": ["prod"],
            },
        ),
        ("timed out", {"error": ["timed out"]}),
        ("STATUS:Failed,partial status:running", {"status": ["failed", "partial", "running"]}),
        ('duration:>=1.5h duration:"< 2 h"', {"min": ["1.5h"], "max": ["2 h"]}),
        (r'error:"say \"no\" to C:\\"', {"error": [r'say "no" to C:\ '.strip()]}),
        ('"http: refused"', {"error": ["http: refused"]}),
        ("12:30", {"error": ["12:30"]}),
        ("code -1 or a=b", {"error": ["code -1 or a=b"]}),
        ('"-status:failed" "NOT"', {"error": ["-status:failed NOT"]}),
    ],
)
def test_terms_become_filters(text: str, values: dict[str, list[str]]) -> None:
    found = parse_query(text)
    assert (found.values, found.problems) == (values, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("state:failed", "There is no filter “state”: there are status, duration, workflow"),
        ("status:fialed", "There is no status “fialed”: there are"),
        ("status:", "What follows after status: is missing."),
        ("duration:30s", "duration:>30s for at least"),
        ('workflow:"Sync', "needs a quote at its end"),
        ("workflow:a workflow:b", "workflow is there twice"),
        ("error:a b", "error is there twice"),
        ("-status:failed", "no way to leave something out"),
        ("!timeout", "no way to leave something out"),
        ("timed OR refused", "OR can't stand between terms"),
        ("duration>30s", "Write duration: and the value"),
        ("status!=failed", "Write status: and the value"),
        ("a" * (LONGEST + 1), "at most 2000 letters"),
    ],
)
def test_what_makes_no_sense_is_named(text: str, said: str) -> None:
    [problem] = parse_query(text).problems
    assert said in problem


def test_good_terms_count_beside_bad_ones() -> None:
    found = parse_query("status:failed,nope colour:red trigger:webhook")
    assert found.values == {"status": ["failed"], "trigger": ["webhook"]}
    assert len(found.problems) == 2
