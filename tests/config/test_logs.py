"""One event is one line, whatever a sender put into it."""

import logging

import pytest

from config.logs import LineFormatter, NoRefusals
from tenants.request_ids import answering


def formatted(message: str, **extra: object) -> str:
    record = logging.makeLogRecord({"msg": message, "name": "a.b", "levelname": "INFO", **extra})
    return LineFormatter().format(record)


def test_fields_follow_the_message() -> None:
    assert formatted("stored", count=3, name_of="x").endswith(
        'INFO a.b: stored count=3 name_of="x"'
    )


def test_no_text_makes_a_second_line_or_moves_the_cursor() -> None:
    line = formatted("bad\r\nINFO forged\x1b[2J", field="two\nlines")
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert r"bad\r\nINFO forged\x1b[2J" in line


def test_what_a_request_causes_says_which() -> None:
    with answering("abc-1"):
        assert formatted("stored", count=3).endswith('stored count=3 request_id="abc-1"')
    assert formatted("stored").endswith("stored")


def test_a_traceback_is_indented() -> None:
    try:
        raise ValueError("x\nINFO forged")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    lines = formatted("broke", exc_info=info).splitlines()
    assert all(line.startswith("    ") for line in lines[1:])


@pytest.mark.parametrize("path", ["/alerts/acknowledge/{}/", "/password/reset/MQ/{}/"])
def test_links_that_let_act_are_not_written_down(path: str) -> None:
    line = formatted(f"Forbidden (no token): {path.format('secret:1a2b')}", wanted="/t/a/")
    assert "secret" not in line
    assert path.format("…") in line


def test_refusals_are_not_said_one_by_one() -> None:
    for status, is_said in ((503, False), (500, True)):
        record = logging.makeLogRecord({"msg": "Service Unavailable: /x", "status_code": status})
        assert NoRefusals().filter(record) is is_said
    assert NoRefusals().filter(logging.makeLogRecord({"msg": "other"}))
