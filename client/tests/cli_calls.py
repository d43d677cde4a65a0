"""Calls the command as people do, in this process."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowwatch_client.cli import main
from flowwatch_client.log.log import Log
from flowwatch_client.rows import ExecutionRow, NodeRow


@dataclasses.dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    def lines(self) -> list[str]:
        return self.out.splitlines()

    def json(self) -> Any:
        return json.loads(self.out)

    def ndjson(self) -> list[Any]:
        return [json.loads(line) for line in self.lines()]


Call = Callable[..., Answer]


def caller(log: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """`call("list", "--json")` with this log."""

    def call(*arguments: str) -> Answer:
        capsys.readouterr()
        try:
            code = main(["--log", str(log), *arguments])
        except SystemExit as ended:  # argparse
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return call


def execution(name: str, **fields: Any) -> ExecutionRow:
    """A finished execution of the workflow `orders`."""
    minute = fields.pop("minute", 0)
    row = ExecutionRow(
        id=name,
        workflow_id="orders",
        workflow_name="Orders",
        status="success",
        started_at=f"2026-11-21T20:{minute:02}:00.000000+00:00",
        completed_at=f"2026-11-21T20:{minute:02}:01.250000+00:00",
        duration_ms=1_250,
    )
    return dataclasses.replace(row, **fields)


def failed(name: str, **fields: Any) -> ExecutionRow:
    return execution(
        name,
        status="error",
        error_message="503 Service Unavailable\nretry later",
        error_stack='Traceback\n  File "orders.py", line 3',
        error_node_id="send",
        **fields,
    )


def node(of: str, name: str = "read", **fields: Any) -> NodeRow:
    row = NodeRow(
        execution_id=of,
        node_id=name,
        node_name=name.title(),
        node_type="function",
        status="success",
        started_at="2026-11-21T20:00:00.000000+00:00",
        duration_ms=20,
        input='{"order":4711}',
        output="[1,2]",
    )
    return dataclasses.replace(row, **fields)


def fill(path: Path) -> Log:
    """Three executions: two of orders, of which one failed, and one of invoices that runs."""
    log = Log(path)
    log.write([execution("aaaaaaaa-1"), node("aaaaaaaa-1")])
    source = '{"source":{"file":"orders.py","line":3}}'
    log.write(
        [
            failed("aaaaaaaa-2", minute=1),
            node("aaaaaaaa-2"),
            node(
                "aaaaaaaa-2", "send", status="error", error_message="503", output=None, extra=source
            ),
        ]
    )
    log.write(
        [
            execution(
                "bbbbbbbb-1",
                workflow_id="invoices",
                workflow_name="Rechnungen – März",
                status="running",
                completed_at=None,
                duration_ms=None,
                minute=2,
            )
        ]
    )
    return log
