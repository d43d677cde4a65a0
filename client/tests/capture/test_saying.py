"""What the client says reaches the program's log, and what that raises does not reach the workflow."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowwatch_client import configure, node, workflow


class Strict(logging.Handler):
    """Raises instead of logging."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
        self.asked = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.asked += 1
        raise self.error


@pytest.fixture(params=[RuntimeError("strict"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def strict(request: pytest.FixtureRequest) -> Iterator[Strict]:
    handler = Strict(request.param)
    logging.getLogger("flowwatch_client").addHandler(handler)
    yield handler
    logging.getLogger("flowwatch_client").removeHandler(handler)
    configure(enabled=False)


@workflow
def orders() -> int:
    return read()


@node
def read() -> int:
    return 4711


def test_a_log_that_raises_changes_no_workflow_whose_file_takes_nothing(
    strict: Strict, tmp_path: Path
) -> None:
    configure(log=tmp_path, exit_seconds=0)  # a folder
    assert orders() == 4711
    assert strict.asked


def test_a_log_that_raises_changes_no_workflow_of_bad_settings(strict: Strict) -> None:
    configure(sample=7)
    assert orders() == 4711
    assert strict.asked


def test_a_filter_that_raises_changes_no_workflow(tmp_path: Path) -> None:
    def fails(record: logging.LogRecord) -> bool:
        return bool(record.request_id)  # type: ignore[attr-defined]

    logger = logging.getLogger("flowwatch_client")
    logger.addFilter(fails)
    try:
        configure(log=tmp_path, exit_seconds=0)
        assert orders() == 4711
    finally:
        logger.removeFilter(fails)
        configure(enabled=False)


def test_a_time_limit_that_is_over_while_something_is_said_passes(tmp_path: Path) -> None:
    class Overtime(Exception):
        pass

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            signal.raise_signal(signal.SIGALRM)

    def over(*_: object) -> None:
        raise Overtime

    before = signal.signal(signal.SIGALRM, over)
    slow = Slow()
    configure(log=tmp_path, exit_seconds=0)
    logging.getLogger("flowwatch_client").addHandler(slow)
    try:
        with pytest.raises(Overtime):
            orders()
    finally:
        logging.getLogger("flowwatch_client").removeHandler(slow)
        signal.signal(signal.SIGALRM, before)
        configure(enabled=False)
