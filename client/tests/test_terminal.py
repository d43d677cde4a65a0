"""Texts for people."""

from __future__ import annotations

import io

import pytest

from flowwatch_client.cli.terminal import (
    Column,
    Table,
    coloured,
    columns_of,
    cut,
    duration,
    local_time,
    size,
)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "–"),
        (0, "0 ms"),
        (999, "999 ms"),
        (12_400, "12.4 s"),
        (187_000, "3 min 07 s"),
        (7_500_000, "2 h 05 min"),
    ],
)
def test_durations(milliseconds: int | None, text: str) -> None:
    assert duration(milliseconds) == text


@pytest.mark.parametrize(
    ("bytes_", "text"),
    [(812, "812 bytes"), (4_400_000, "4.2 MB"), (3 * 1024**4, "3.0 TB"), (1024, "1.0 KB")],
)
def test_sizes(bytes_: int, text: str) -> None:
    assert size(bytes_) == text


def test_a_time_that_is_none_is_shown_as_it_is() -> None:
    assert local_time("soon") == "soon"


@pytest.mark.parametrize(("term", "no_color", "has"), [
    ("xterm", "", True), ("xterm", "1", False), ("dumb", "", False), ("", "", False),
])  # fmt: skip
def test_colours_only_where_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch, term: str, no_color: str, has: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert ("\x1b" in coloured("text", "red", _Terminal())) is has
    assert coloured("text", "red", io.StringIO()) == "text"


def test_columns_align_for_wide_letters() -> None:
    table = Table(Column("Name"), Column("Number", right=True))
    table.add("注文", "7")
    table.add("abc", "12")
    heading, wide, narrow = table.lines()
    assert columns_of(wide) == columns_of(narrow) == columns_of(heading)


def test_texts_are_cut_by_columns() -> None:
    assert cut("注文注文", 5) == "注文…"
    assert cut("e\u0301e\u0301", 2) == "e\u0301e\u0301"
