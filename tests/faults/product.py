"""The whole product on a data folder of its own, with a tenant, and what became of its data."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from config.postgres.cluster import SUPERUSER
from config.supervisor import CLUSTERS
from tests.config.trees import PATIENCE, Tree, kill, wait_for
from tests.faults.ledger import Ledger
from tests.faults.trials import Outcome

PACE = 0.1
TENANT = "faults"
WEB_PROCESSES = 3  # granian's own and two that answer
TOLD_SECONDS = 60.0
# What there is to do just now, and whether others have done that since.
# Of real life: a minute until the lease of the dead ends, or until a stuck cluster is seen.
LEASE_SECONDS = 60.0
_MARKS = """
    SELECT (SELECT coalesce(max(id), 0) FROM monitoring_rollupdelta),
           (SELECT coalesce(max(id), 0) FROM monitoring_event), clock_timestamp()
"""
_LEFT = """
    SELECT NOT EXISTS (SELECT FROM monitoring_rollupdelta WHERE id <= %s),
           NOT EXISTS (SELECT FROM monitoring_event WHERE id <= %s),
           NOT EXISTS (SELECT FROM faults_chore WHERE id = ANY(%s) AND done = 0),
           (SELECT count(*) = 2 FROM scheduling_cluster WHERE finished_at > %s)
"""
_ALL_DONE = "SELECT NOT EXISTS (SELECT FROM faults_chore WHERE done = 0)"


class Product(Tree):
    """A tree at a tenth of the times of real life, or at another `pace`; MUTANT names its fault."""

    def __init__(self, *, mutant: str = "", pace: float = PACE) -> None:
        super().__init__()
        self.mutant, self.pace = mutant, pace
        self.token = ""

    @property
    def environment(self) -> dict[str, str]:
        """That of any tree, with these tests' settings."""
        return super().environment | {
            "DJANGO_SETTINGS_MODULE": "tests.faults.product_settings",
            "MUTANT": self.mutant,
            "PACE": str(self.pace),
            "WEB_THREADS": "16",
        }

    def start(self, *options: str) -> None:
        """Start; it ends with us, so that a command that is killed leaves no tree behind."""
        super().start("--end-with-parent", *options)

    def begin(self) -> None:
        """Start with a tenant and a token that may send."""
        self.start_and_wait()
        assert self.command("create_tenant", "Faults", "--slug", TENANT).returncode == 0
        made = self.command("create_token", TENANT, "--scopes", "ingest,read")
        self.token = made.stdout.strip()
        assert self.token, made.stderr

    def web_processes(self) -> list[int]:
        """granian's main process, then those that answer."""
        return self.pids("config.web")

    def supervised(self) -> set[int]:
        """What has to live on when the database is away: all of the web, and each part's own process."""
        watchdogs = [self.pids("run_cluster", name)[0] for name in CLUSTERS]
        return {*self.web_processes(), *self.pids("run_worker"), *self.pids("run_tick"), *watchdogs}

    def kill_all(self) -> None:
        """kill -9 of the supervisor, then of every process of the tree and of PostgreSQL."""
        assert self.process is not None
        kill(self.process.pid)
        for pid in (*self.pids(), *self.postgres()):
            with contextlib.suppress(ProcessLookupError):
                kill(pid)
        wait_for(self.gone, PATIENCE, "all processes ended")

    def connect(self) -> psycopg.Connection[Any]:
        """A superuser's connection."""
        parameters = self.cluster.connection_parameters(SUPERUSER, "flowwatch")
        return psycopg.connect(**parameters, autocommit=True)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the database says, by a connection of its own."""
        with self.connect() as connection:
            found = connection.execute(statement, values)
            return found.fetchall() if found.description else []

    def add_chores(self, number: int, seconds: float = 0.0) -> list[int]:
        """Rows that are due now, for the clusters: each takes so long."""
        rows = self.query(
            "INSERT INTO faults_chore (tenant_id, due_at, seconds) SELECT id, clock_timestamp(), %s"
            " FROM tenants_tenant, generate_series(1, %s) RETURNING id",
            seconds,
            number,
        )
        return [chore for (chore,) in rows]

    def wait_until_all_work(self, seconds: float) -> None:
        """Until folds, relay, tick and both clusters have done what is new."""
        chores = self.add_chores(10)
        [(delta, event, now)] = self.query(_MARKS)
        marks = (delta, event, chores, now)
        wait_for(lambda: self.query(_LEFT, *marks) == [(True,) * 4], seconds, "all parts work")

    def wait_until_nothing_is_left(self, seconds: float) -> None:
        """Until what was under way, whose leases have to end first, is done as well."""
        wait_for(lambda: self.query(_ALL_DONE) == [(True,)], seconds, "what was under way is done")


@contextlib.contextmanager
def product(*, mutant: str = "", pace: float = PACE) -> Iterator[Product]:
    """A product that works; nothing of it is left afterwards."""
    tree = Product(mutant=mutant, pace=pace)
    try:
        tree.begin()
        yield tree
    except Exception:
        kept = shutil.copy(tree.log, f"{tempfile.gettempdir()}/{tree.home.name}-failed.log")
        print(f"the log of what failed: {kept}", file=sys.stderr)
        raise
    finally:
        tree.throw_away()


@dataclass(frozen=True, slots=True)
class Audit:
    """Compares what senders were told with what is stored, told on and counted."""

    product: Product
    ledger: Ledger

    def outcome(self) -> Outcome:
        """Everything that must be zero, in numbers and words."""
        stored = self._stored()
        sent = self.ledger.acknowledged | self.ledger.unknown
        [chores] = self.product.query("SELECT count(*) FROM faults_chore WHERE done <> 1")
        wrong = {
            "lost": len(self.ledger.acknowledged - stored.keys()),
            "doubled": sum(times - 1 for times in stored.values()),
            "stored though refused or never sent": len(stored.keys() - sent),
            "not told on once": self._wrongly_heard(),
            "chores not done once": int(chores[0]),
            "rollup differences": self._differences(),
        }
        answered = {
            "acknowledged": len(self.ledger.acknowledged),
            "calls without an answer": self.ledger.cut_off,
        }
        faults = [f"{number} {word}" for word, number in wrong.items() if number]
        return Outcome(tally=answered | wrong, faults=faults)

    def _stored(self) -> Counter[str]:
        """How many executions there are of each sender's id."""
        rows = self.product.query(
            "SELECT external_id, count(*) FROM monitoring_execution GROUP BY 1"
        )
        return Counter(dict(rows))

    def _wrongly_heard(self) -> int:
        """Executions of which the relay's subscriber did not hear once, and what it made up."""
        with contextlib.suppress(AssertionError):  # what was not told by then is counted
            wait_for(self._all_told, TOLD_SECONDS, "all events told")
        [(number,)] = self.product.query(
            "SELECT count(*) FROM monitoring_execution FULL JOIN"
            " (SELECT execution AS id, count(*) AS times FROM faults_heard GROUP BY 1) AS heard"
            " USING (id) WHERE times IS DISTINCT FROM 1 OR external_id IS NULL"
        )
        return int(number)

    def _all_told(self) -> bool:
        return not self.product.query("SELECT 1 FROM monitoring_event LIMIT 1")

    def _differences(self) -> int:
        """What `verify_rollups` finds: a line each, and a last one that sums up."""
        verified = self.product.command("verify_rollups", TENANT)
        assert "rows of" in verified.stdout, verified.stderr
        return len(verified.stdout.splitlines()) - 1
