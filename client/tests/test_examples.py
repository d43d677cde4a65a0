"""The examples run as they stand, and record what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flowwatch_client.log.document import Document, execution_document
from flowwatch_client.log.log import Log
from flowwatch_client.log.reading import Filter, iterate

pytestmark = pytest.mark.processes

CLIENT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((CLIENT / "examples").glob("*.py"))


class Ran:
    """An example that was run in a folder of its own."""

    def __init__(self, source: Path, folder: Path) -> None:
        self._log = folder / "executions.db"
        environment = {
            **{name: value for name, value in os.environ.items() if "FLOWWATCH" not in name},
            "PYTHONPATH": os.pathsep.join(sys.path),
            "FLOWWATCH_LOG": str(self._log),
        }
        ended = subprocess.run(
            [sys.executable, str(source)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.code, self.out, self.err = ended.returncode, ended.stdout, ended.stderr

    def execution(self, log: Path | None = None) -> Document:
        opened = Log(log or self._log)
        found = [execution_document(*each) for each in iterate(opened, Filter())]
        opened.connection.close()
        assert len(found) == 1, self.err
        return found[0]


def _run(name: str, folder: Path) -> Ran:
    return Ran(CLIENT / "examples" / name, folder)


def _nodes(execution: Document) -> list[tuple[str, str]]:
    return [(each["nodeName"], each["status"]) for each in execution["nodeExecutions"]]


def test_each_example_is_tried() -> None:
    tried = {"invoices.py", "local_log.py", "parallel.py", "web.py"}
    assert {path.name for path in EXAMPLES} == tried


def test_a_workflow_that_fails(tmp_path: Path) -> None:
    ran = _run("invoices.py", tmp_path)
    assert ran.code == 1
    assert "RuntimeError: 503 Service Unavailable" in ran.err
    execution = ran.execution()
    assert execution["status"] == "error"
    assert [status for _, status in _nodes(execution)] == ["success", "error"]
    assert execution["nodeExecutions"][1]["input"] == {"order": {"order": 4711, "total": 129.9}}


def test_the_readmes_first_example_is_that_one() -> None:
    (first, *_) = re.findall(r"```python\n(.*?)```", (CLIENT / "README.md").read_text(), re.S)
    code = (CLIENT / "examples" / "invoices.py").read_text().partition('"""\n\n')[2]
    assert "".join(first.split()) == "".join(code.split())


def test_a_log_without_a_server(tmp_path: Path) -> None:
    ran = _run("local_log.py", tmp_path)
    assert ran.code == 0, ran.err
    assert "success" in ran.out
    execution = ran.execution(tmp_path / "stock.db")
    assert execution["keys"] == {"shop": "northwind"}
    assert execution["result"] == 1


def test_nodes_side_by_side(tmp_path: Path) -> None:
    ran = _run("parallel.py", tmp_path)
    assert (ran.code, ran.out) == (0, "4 invoices\n"), ran.err
    nodes = _nodes(ran.execution())
    assert len(nodes) == 3 + 9 + 4
    assert {status for _, status in nodes} == {"success"}


def test_a_request_is_an_execution(tmp_path: Path) -> None:
    ran = _run("web.py", tmp_path)
    assert (ran.code, ran.out) == (0, '{"order": 4711, "total": 129.9}\n'), ran.err
    execution = ran.execution()
    assert (execution["workflowId"], execution["trigger"]["type"]) == ("price orders", "http")
    assert len(execution["nodeExecutions"]) == 1
