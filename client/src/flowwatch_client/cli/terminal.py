"""What people read: tables, times, durations and sizes; and nothing that commands their terminal."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from typing import TextIO

from flowwatch_client.log.times import read_time

_COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}
_OF_STATUS = {
    "success": "green",
    "error": "red",
    "failed": "red",
    "running": "cyan",
    "canceled": "dim",
    "skipped": "dim",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
}
_GAP = "  "
_NARROWEST = 8


def out(text: str = "") -> None:
    """A line for whoever called: text, table or JSON."""
    sys.stdout.write(f"{text}\n")


def err(text: str) -> None:
    """A line beside it: what went wrong, what was done."""
    if sys.stderr is None:  # closed when this began (`2>&-`)
        return
    sys.stderr.write(f"flowwatch-client: {text}\n")
    sys.stderr.flush()


def coloured(text: str, colour: str | None, stream: TextIO | None = None) -> str:
    """The text in a colour, where a terminal shows it and nobody asked for none (NO_COLOR)."""
    stream = stream or sys.stdout
    if colour is None or not has_colours(stream):
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def has_colours(stream: TextIO) -> bool:
    return (
        stream.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") not in ("", "dumb")
    )


def of_status(status: str) -> str | None:
    """The colour of a status."""
    return _OF_STATUS.get(status)


def width() -> int | None:
    """Columns of the terminal (or of COLUMNS); None when nothing says how wide a line may be."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return shutil.get_terminal_size().columns
    return None


def printable(text: str, *, lines: bool = False) -> str:
    """The text without what would steer a terminal; line breaks are kept when asked for."""
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(each if each.isprintable() or each in kept else _visible(each) for each in text)


def _visible(character: str) -> str:
    if character in "\n\r\t":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def columns_of(text: str) -> int:
    """How many columns a text takes: East Asian letters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def cut(text: str, most: int) -> str:
    """The text in at most so many columns, with an ellipsis when something is missing."""
    if columns_of(text) <= most:
        return text
    kept, used = [], 0
    for each in text:
        used += columns_of(each)
        if used > most - 1:
            break
        kept.append(each)
    return f"{''.join(kept)}…"


@dataclasses.dataclass(frozen=True)
class Column:
    """`flexible` columns give way when the terminal is too narrow."""

    title: str
    right: bool = False
    flexible: bool = False
    status: bool = False


class Table:
    """Rows in aligned columns."""

    def __init__(self, *columns: Column) -> None:
        self._columns = columns
        self._rows: list[list[str]] = []

    def add(self, *cells: str) -> None:
        self._rows.append([printable(cell) for cell in cells])

    def lines(self) -> list[str]:
        """Heading and rows, within the width of the terminal."""
        widths = self._widths()
        titles = [column.title for column in self._columns]
        heading = coloured(self._line(titles, widths, plain=True), "bold")
        return [heading, *(self._line(row, widths) for row in self._rows)]

    def _widths(self) -> list[int]:
        texts = zip(*([column.title for column in self._columns], *self._rows), strict=True)
        widths = [max(map(columns_of, column)) for column in texts]
        most = width()
        if most is None:
            return widths
        too_many = sum(widths) + len(_GAP) * (len(widths) - 1) - most
        flexible = [at for at, column in enumerate(self._columns) if column.flexible]
        while too_many > 0 and flexible:
            widest = max(flexible, key=lambda at: widths[at])
            if widths[widest] <= _NARROWEST:
                break
            widths[widest] -= 1
            too_many -= 1
        return widths

    def _line(self, cells: Sequence[str], widths: Sequence[int], *, plain: bool = False) -> str:
        parts = []
        for cell, wide, column in zip(cells, widths, self._columns, strict=True):
            shown = cut(cell, wide)
            room = " " * (wide - columns_of(shown))
            if column.status and not plain:
                shown = coloured(shown, of_status(cell))
            parts.append(room + shown if column.right else shown + room)
        return _GAP.join(parts).rstrip()


def duration(milliseconds: int | None) -> str:
    """`840 ms`, `12.4 s`, `3 min 07 s`, `2 h 05 min`."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1_000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1_000:.1f} s"
    seconds = milliseconds // 1_000
    if seconds < 3_600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    return f"{seconds // 3_600} h {seconds % 3_600 // 60:02} min"


def local_time(text: str | None) -> str:
    """A time of the log in the zone of whoever reads."""
    if text is None:
        return "–"
    moment = read_time(text)
    return text if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def size(number: int) -> str:
    """`812 bytes`, `4.2 MB`."""
    if number < 1_024:
        return f"{number} bytes"
    amount = float(number)
    for unit in ("KB", "MB", "GB"):
        amount /= 1_024
        if amount < 1_024:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1_024:.1f} TB"


def number(value: int) -> str:
    """`12 345`: groups by narrow spaces would break columns in some fonts, plain ones don't."""
    return f"{value:,}".replace(",", " ")


def count(value: int, one: str, many: str | None = None) -> str:
    """`1 record`, `2 records`."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"
