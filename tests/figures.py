"""The measured figures of `docs/performance.md` and `docs/reliability.md`: written by commands only.

`make bench` and `make faults` append a JSON line for each figure to `docs/figures/<document>.jsonl`;
`python -m tests.figures` (and every `append`) makes the tables of the documents anew from these
lines. So nothing in a table was typed by hand, and what an older run reached stays in the history.

The newest line for a (section, line) is what the table shows. Figures that add up over several runs
of a command that was interrupted (kills, acknowledged posts) carry a `tally` and the name of their
`series`: the table shows the sums over the lines of the newest series, and the greatest of `most`.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import platform
import re
import subprocess
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("performance", "reliability")
_BEGIN, _END = "<!-- figures: {} -->", "<!-- end of figures -->"


class Figure(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """One measured line.

    `line` says what was measured ("row 1: kill -9 of web workers"), `target` what it must reach,
    `reached` what it did, `met` whether that is enough (None: nothing was asked). `sizes` names what
    it was measured with. `tally` counts by word in the order to be shown, `most` are greatest values
    by word ("s at most until posts are taken"); with them `reached` may be left out. `append` fills
    in the rest.
    """

    section: str
    line: str
    target: str = ""
    command: str = ""
    reached: str = ""
    met: bool | None = None
    sizes: str = ""
    tally: dict[str, int] = {}
    most: dict[str, float] = {}
    series: str = ""
    date: str = ""
    commit: str = ""
    machine: str = ""


def append(document: str, *figures: Figure, root: Path = ROOT) -> None:
    """Add figures to a document's lines, with date, commit and machine, and renew its tables."""
    stamps = {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "commit": _commit(root),
        "machine": _machine(),
    }
    file = _file(root, document)
    file.parent.mkdir(parents=True, exist_ok=True)
    _drop_cut_off_line(file)
    with file.open("ab") as lines:
        for figure in figures:
            stamped = msgspec.structs.replace(figure, **stamps)
            lines.write(msgspec.json.encode(stamped) + b"\n")
    render(document, root=root)


def read(document: str, *, root: Path = ROOT) -> list[Figure]:
    """All lines of a document, oldest first; a line that a crash cut off is left out."""
    file = _file(root, document)
    if not file.exists():
        return []
    whole, _, _ = file.read_bytes().rpartition(b"\n")
    return [msgspec.json.decode(line, type=Figure) for line in whole.splitlines()]


def render(document: str, *, root: Path = ROOT) -> str:
    """Write the tables between the document's marks; return its text.

    `<!-- figures: <section> -->` begins the table of that section.
    """
    path = root / "docs" / f"{document}.md"
    figures = read(document, root=root)
    text = path.read_text()
    pattern = re.compile(_BEGIN.format("(.+?)") + r"\n.*?" + re.escape(_END), re.DOTALL)
    text = pattern.sub(lambda found: _table(found[1], figures), text)
    path.write_text(text)
    return text


def of_series(document: str, section: str, series: str, *, root: Path = ROOT) -> list[Figure]:
    """What a series has added to a section so far: where a command that was interrupted goes on."""
    return [
        figure
        for figure in read(document, root=root)
        if figure.section == section and figure.series == series
    ]


def _table(section: str, figures: list[Figure]) -> str:
    by_line: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.section == section:
            by_line.setdefault(figure.line, []).append(figure)
    rows = [_row(_shown(lines)) for lines in by_line.values()]
    head = ["| what | target | reached | met | command | with | when |", "|" + " --- |" * 7]
    return "\n".join([_BEGIN.format(section), *head, *rows, _END])


def _shown(lines: list[Figure]) -> Figure:
    """The newest figure, or the sum of the newest series."""
    newest = lines[-1]
    if not newest.series:
        return newest
    parts = [figure for figure in lines if figure.series == newest.series]
    tally: dict[str, int] = {}
    for word, number in itertools.chain.from_iterable(part.tally.items() for part in parts):
        tally[word] = tally.get(word, 0) + number
    most: dict[str, float] = {}
    for word, value in itertools.chain.from_iterable(part.most.items() for part in parts):
        most[word] = max(value, most.get(word, value))
    met = None if newest.met is None else all(part.met for part in parts)
    said = "; ".join(dict.fromkeys(part.reached for part in parts if part.reached))
    return msgspec.structs.replace(newest, tally=tally, most=most, met=met, reached=said)


def _row(figure: Figure) -> str:
    counted = [f"{number:,} {word}" for word, number in figure.tally.items()]
    measured = [f"{value:g} {word}" for word, value in figure.most.items()]
    reached = "; ".join(part for part in (", ".join(counted + measured), figure.reached) if part)
    met = {True: "yes", False: "**no**", None: ""}[figure.met]
    when = f"{figure.date}, {figure.commit}, {figure.machine}"
    cells = (figure.line, figure.target, reached, met, f"`{figure.command}`", figure.sizes, when)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _drop_cut_off_line(file: Path) -> None:
    """Take back what a command that was killed while it wrote has left."""
    if file.exists() and not (written := file.read_bytes()).endswith(b"\n"):
        whole, newline, _ = written.rpartition(b"\n")
        file.write_bytes(whole + newline)


def _file(root: Path, document: str) -> Path:
    return root / "docs" / "figures" / f"{document}.jsonl"


def _commit(root: Path) -> str:
    """The measured commit, with a + when files other than the figures themselves had changed."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def _machine() -> str:
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = ".".join(platform.python_version_tuple()[:2])
    return f"{os.cpu_count()} cores, {gigabytes:.0f} GiB, Python {python}"


if __name__ == "__main__":
    for name in DOCUMENTS:
        render(name)
