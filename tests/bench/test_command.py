"""`make bench` names no part and means all."""

from tests.bench.__main__ import PARTS, read_arguments


def test_no_part_means_all() -> None:
    assert read_arguments([]).parts == list(PARTS)
    assert read_arguments(["lint", "--seconds", "2"]).parts == ["lint"]
