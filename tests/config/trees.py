"""Real ``flowwatch run`` process trees for the tests that kill their parts."""

import contextlib
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from config.home import SOURCE_ROOT, Home
from config.postgres.cluster import Cluster
from config.postgres.leftovers import processes_of

FOREIGN_VARIABLES = (
    "DATABASE_URL",
    "MIGRATION_DATABASE_URL",
    "FLOWWATCH_TEST_HOME",
    "FRONTEND_URL",
    # What a test that loads the web application leaves behind.
    "FLOWWATCH_PROCESS",
)

PATIENCE = 120.0
"""How long, in seconds, processes may take to start or end; the machine may be busy with other tests."""


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Fail with ``what`` unless ``condition`` holds within ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"after {seconds:g} s still not: {what}"
        time.sleep(0.05)


class Tree:
    """One data folder and the tree that runs on it, if any: the checkout's code, or that of `code`."""

    def __init__(self, code: Path = SOURCE_ROOT) -> None:
        self.code = code
        self.home = Path(tempfile.mkdtemp(prefix="flowwatch-tree-"))
        self.home.chmod(0o711)
        self.port = free_port()
        self.log = self.home.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def cluster(self) -> Cluster:
        """The embedded cluster of this data folder."""
        return Cluster(Home(self.home, os.geteuid() == 0))

    @property
    def environment(self) -> dict[str, str]:
        """What a person would export."""
        inherited = {k: v for k, v in os.environ.items() if k not in FOREIGN_VARIABLES}
        return inherited | {
            "FLOWWATCH_DATA": str(self.home),
            "PORT": str(self.port),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "SECRET_KEY": "",
            "WEB_THREADS": "4",
        }

    def start(self, *options: str) -> None:
        """``manage.py run`` without example data."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.cli", "run", "--no-example", *options],
                cwd=self.code,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_and_wait(self) -> None:
        """Start; return when requests may be sent."""
        self.start()
        self.wait_until_ready()

    def run_refused(self) -> str:
        """A start that must fail; its words."""
        answer = self.command("run", "--no-example")
        assert answer.returncode == 1, answer.stdout + answer.stderr
        return answer.stderr

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """``manage.py …``, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "config.cli", *arguments],
            cwd=self.code,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def wait_until_ready(self, seconds: float = PATIENCE) -> None:
        """Until ``/health/ready`` says 200."""
        wait_for(self.ready, seconds, f"ready; its log: {self.log.read_text()[-1500:]}")

    def ready(self) -> bool:
        """Whether ``/health/ready`` says 200."""
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    @property
    def url(self) -> str:
        """The web's address."""
        return f"http://localhost:{self.port}"

    def pids(self, *words: str) -> list[int]:
        """Living processes but PostgreSQL's whose command line holds all ``words``, parents first."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes()
                arguments = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            mine = f"FLOWWATCH_DATA={self.home}".encode() in environment.split(b"\0")
            if mine and all(word in " ".join(arguments) for word in words):
                found.append(int(entry.name))
        return sorted(set(found) - set(self.postgres()), key=_started)

    def postgres(self) -> list[int]:
        """Living PostgreSQL processes of this tree."""
        return processes_of(self.cluster.data) if self.cluster.data.exists() else []

    def postmaster(self) -> int:
        """The one that the others are children of."""
        return int((self.cluster.data / "postmaster.pid").read_text().split("\n", 1)[0])

    def gone(self) -> bool:
        """Whether not one process is left."""
        if self.process is not None:
            self.process.poll()
        return not self.pids() and not self.postgres()

    def interrupt(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ctrl-C: the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def throw_away(self) -> None:
        """End what still lives and remove the folder."""
        self.kill_what_lives()
        shutil.rmtree(self.home)
        self.log.unlink(missing_ok=True)

    def kill_what_lives(self) -> None:
        """kill -9 of every process of this folder."""
        for pid in (*self.pids(), *self.postgres()):
            # They end each other: one that was listed may be gone by now.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(self.gone, PATIENCE, "gone")


def _started(pid: int) -> tuple[float, int]:
    """Orders processes, the oldest first: numbers begin anew now and then."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:  # it ended just now
        return math.inf, pid
    return float(started), pid


def kill(pid: int) -> None:
    """kill -9."""
    os.kill(pid, signal.SIGKILL)
