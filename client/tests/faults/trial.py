"""One trial: a workflow's processes on one log, a bad server, and what is wrong afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from product import ROOT
from proxy import Proxy, fair
from work import Work, total_of

from flowwatch_client.log import outbox

KILLS = int(os.environ.get("FAULT_KILLS", "3"))
"""How often a client is killed; `make client-faults` sets it."""
in_client_faults = pytest.mark.skipif(KILLS < 10, reason="takes long: make client-faults")
SLOW_SECONDS = 3.0
"""No call of the log may take longer (this machine is shared with others)."""
HERE = Path(__file__).parent
_SOURCES = HERE.parents[1] / "src"


@dataclasses.dataclass
class Product:
    """A running Flowwatch."""

    port: int
    token: str

    def rows(self, workflow: str) -> list[dict[str, Any]]:
        """All executions of a workflow with their nodes, as the server has them."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self._get(f"/api/executions?workflowId={workflow}&limit=500{cursor}")
            found += [self._get(f"/api/executions/{row['id']}") for row in page["data"]]
            if page["pagination"]["nextCursor"] is None:
                return found
            cursor = f"&cursor={page['pagination']['nextCursor']}"

    def _get(self, path: str) -> Any:
        wanted = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(wanted) as answer:
            return json.load(answer)


@contextlib.contextmanager
def running_product() -> Iterator[Product]:
    """A Flowwatch of its own, thrown away afterwards; skips where the project's environment is missing."""
    python = Path(os.environ.get("FLOWWATCH_PYTHON", ROOT / ".venv/bin/python"))
    if not python.exists():
        pytest.skip(f"a real server needs the project's own environment: no {python}")
    with subprocess.Popen(
        [python, HERE / "product.py"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port, _, token = process.stdout.readline().strip().partition(" ")
        assert token, "the server did not start"
        yield Product(int(port), token)
        process.stdin.close()
        process.wait(60)


@dataclasses.dataclass
class Running:
    """A process of the workflow."""

    process: subprocess.Popen[str]
    work: Work
    began: float


class Trial:
    """A log, a ledger of what the log has taken, and processes of one workflow."""

    def __init__(self, product: Product, proxy: Proxy, folder: Path, **work: Any) -> None:
        self.product, self.proxy = product, proxy
        self.workflow = uuid.uuid4().hex
        self.path = folder / "log" / "executions.db"
        self.path.parent.mkdir(exist_ok=True)
        self.work = Work(
            path=str(self.path),
            url=proxy.url,
            token=product.token,
            workflow=self.workflow,
            ledger=str(folder / "ledger"),
            pace=0.05,
        )
        self.work = dataclasses.replace(self.work, **work)
        self.printed: list[dict[str, Any]] = []
        self.complaints: set[str] = set()

    # --- processes ---------------------------------------------------------------------------------

    def start(self, **changes: Any) -> Running:
        work = dataclasses.replace(self.work, **changes)
        process = subprocess.Popen(
            [sys.executable, str(HERE / "work.py"), json.dumps(dataclasses.asdict(work))],
            env={**os.environ, "PYTHONPATH": f"{_SOURCES}{os.pathsep}{HERE}"},
            stdout=subprocess.PIPE,
            text=True,
        )
        return Running(process, work, time.monotonic())

    def finish(self, running: Running, seconds: float = 60) -> None:
        """Wait for the end; complain of a workflow that was harmed."""
        process = running.process
        try:
            text, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.complaints.add("the workflow did not end")
            return
        seconds = time.monotonic() - running.began
        if process.returncode != 0 or not text:
            self.complaints.add("the workflow failed")
            return
        printed = json.loads(text)
        self.printed.append({**printed, "seconds": seconds})
        if printed["total"] != total_of(running.work):
            self.complaints.add("the workflow's result changed")
        if printed["slowest"] > SLOW_SECONDS:
            self.complaints.add("the workflow was slowed")

    def run(self, **changes: Any) -> None:
        self.finish(self.start(**changes))

    def deliver(self, seconds: float = 20) -> None:
        """The trouble is over: let a further process send what is left."""
        self.proxy.behaviour = fair
        self.run(
            executions=1,
            nodes=0,
            flush=seconds,
            mutant="",
            clock=0.0,
            file_limit=0,
            forks=0,
            buffered=False,
            exit_on_term=False,
        )
        if self.printed and not self.printed[-1]["flushed"]:
            self.complaints.add("not everything could be sent")

    def rows(self) -> int:
        """What its processes have written, those apart that did not end by themselves."""
        return sum(printed["rows"] for printed in self.printed)

    # --- what is wrong -----------------------------------------------------------------------------

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path, timeout=10)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def execute(self, sql: str) -> None:
        connection = sqlite3.connect(self.path, timeout=10)
        try:
            with connection:
                connection.execute(sql)
        finally:
            connection.close()

    def counts(self) -> outbox.Counts:
        connection = sqlite3.connect(self.path, timeout=10, isolation_level=None)
        try:
            connection.execute("BEGIN")
            return outbox.counts(connection)
        finally:
            connection.close()

    def ledger_size(self) -> int:
        ledger = Path(self.work.ledger)
        return ledger.stat().st_size if ledger.exists() else 0

    def wait_until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                self.complaints.add(what)
                return
            time.sleep(0.05)

    def look(self, *, at_server: bool = True) -> set[str]:
        """All that is wrong: what was seen meanwhile, the file, the sum, the ledger and the server."""
        found = set(self.complaints)
        if self.query("PRAGMA integrity_check") != [("ok",)]:
            found.add("the file is damaged")
        counts = self.counts()
        if counts.accepted != counts.sent + counts.waiting + counts.dead + counts.dropped:
            found.add("the sum does not hold")
        written = self._of_file()
        if not self._in_ledger() <= written.keys():
            found.add("what was accepted is not in the file")
        return found | (self._compare(written) if at_server else set())

    def _of_file(self) -> dict[str, str]:
        """Row → status of everything in the file; the row as the ledger names it."""
        rows: dict[str, str] = dict(self.query("SELECT id, status FROM executions"))
        for execution, number, status in self.query(
            "SELECT execution_id, id, status FROM node_executions"
        ):
            rows[f"{execution} {number}"] = status
        return rows

    def _in_ledger(self) -> set[str]:
        text = Path(self.work.ledger).read_text()
        return {line.rpartition(" ")[0].strip() for line in text.splitlines(keepends=True)}

    def _compare(self, written: dict[str, str]) -> set[str]:
        """What of the file is to be on the server, against what is there."""
        found: set[str] = set()
        server = self._of_server()
        if any(many > 1 for many in Counter(each for each, _ in server).values()):
            found.add("a row is on the server twice")
        unsent = {
            (execution, node)
            for table in ("outbox", "dead_letters")
            for execution, node in self.query(f"SELECT execution_id, node_row FROM {table}")
        }
        expected = {(row, status) for row, status, key in self._named(written) if key not in unsent}
        known = {row for row, _, _ in self._named(written)}
        if not expected <= {*server}:
            found.add("what counts as sent is not on the server")
        if not {row for row, _ in server} <= known:
            found.add("the server has what nobody wrote")
        return found

    def _named(self, written: dict[str, str]) -> list[tuple[str, str, tuple[str, int | None]]]:
        """(row as the server names it, status, (execution, node row)) of everything in the file."""
        named = []
        runs = {
            number: f"{execution} {node} {run}"
            for number, execution, node, run in self.query(
                "SELECT id, execution_id, node_id, run_index FROM node_executions"
            )
        }
        for row, status in written.items():
            execution, _, node = row.partition(" ")
            key = (execution, int(node) if node else None)
            named.append((runs[int(node)] if node else execution, status, key))
        return named

    def _of_server(self) -> list[tuple[str, str]]:
        rows = []
        for execution in self.product.rows(self.workflow):
            name = execution["externalId"]
            rows.append((name, execution["status"]))
            for node in execution["nodeExecutions"]:
                row = f"{name} {node['nodeId']} {node['runIndex']}"
                rows.append((row, node["status"]))
        return rows
