"""Tables of measured figures are made from the lines that commands appended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import figures
from tests.figures import Figure

_PAGE = "# Speed\n\n<!-- figures: pages -->\nold\n<!-- end of figures -->\n\nAfter.\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/performance.md").write_text(_PAGE)
    return tmp_path


def _figure(reached: str = "", **others: object) -> Figure:
    return Figure(
        section="pages", line="overview", target="under 50 ms", command="make bench",
        reached=reached, **others,  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_newest_figure_of_a_line_is_shown_and_the_rest_of_the_page_stays(root: Path) -> None:
    figures.append("performance", _figure("70 ms", met=False), root=root)
    figures.append("performance", _figure("40 ms", met=True), root=root)
    text = (root / "docs/performance.md").read_text()
    assert "40 ms" in text
    assert "70 ms" not in text
    assert "old" not in text
    assert text.startswith("# Speed\n\n<!-- figures: pages -->\n| what |")
    assert text.endswith("<!-- end of figures -->\n\nAfter.\n")


def test_a_series_adds_up_and_one_failure_is_a_failure(root: Path) -> None:
    figures.append("performance", _figure(tally={"kills": 9}, series="old", met=True), root=root)
    for kills, met in ((20, True), (30, False), (50, True)):
        part = _figure(tally={"kills": kills, "lost": 0}, series="new", met=met)
        figures.append("performance", part, root=root)
    text = (root / "docs/performance.md").read_text()
    assert "| 100 kills, 0 lost | **no** |" in text
    assert len(figures.of_series("performance", "pages", "new", root=root)) == 3


def test_a_series_shows_its_greatest_values_and_all_that_was_said(root: Path) -> None:
    for slowest, said in ((1.2, ""), (3.25, "a post was lost"), (2.0, "")):
        part = _figure(said, most={"s at most": slowest}, series="new", met=not said)
        figures.append("performance", part, root=root)
    text = (root / "docs/performance.md").read_text()
    assert "| 3.25 s at most; a post was lost | **no** |" in text


def test_a_line_that_a_crash_cut_off_is_left_out(root: Path) -> None:
    figures.append("performance", _figure("40 ms"), root=root)
    with (root / "docs/figures/performance.jsonl").open("a") as file:
        file.write('{"section": "pag')
    assert [figure.reached for figure in figures.read("performance", root=root)] == ["40 ms"]
    figures.append("performance", _figure("30 ms"), root=root)
    assert [figure.reached for figure in figures.read("performance", root=root)] == [
        "40 ms",
        "30 ms",
    ]


@pytest.mark.parametrize("document", figures.DOCUMENTS)
def test_the_documents_hold_what_their_lines_say(document: str) -> None:
    page = figures.ROOT / "docs" / f"{document}.md"
    before = page.read_text()
    assert figures.render(document) == before, "python -m tests.figures"
