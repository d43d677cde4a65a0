"""Rates, as DESIGN.md defines them, in one place."""

from __future__ import annotations

from collections.abc import Sequence

from monitoring.words import RATED, Status


def rated(counts: Sequence[int]) -> int:
    """Of counts by Status, those that rates are of: success + failed + partial."""
    return sum(counts[status] for status in RATED)


def rate(status: Status, counts: Sequence[int]) -> float | None:
    """The fraction that a status has of the rated; None where there is none: a gap, not 0."""
    return fraction(counts[status], rated(counts))


def fraction(part: float, whole: int) -> float | None:
    """`part` of `whole`; None of nothing."""
    return part / whole if whole else None
