"""``flowwatch run``: database, web, worker, tick and clusters in one foreground process tree.

Every part is a child in a process group of its own that watches a pipe to us (``config.lifeline``).
A part that dies is started again after a growing pause; Ctrl-C and TERM end all in order, the
database last. After a kill -9 of the supervisor itself the parts end by their pipes.
"""

import argparse
import contextlib
import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from config.environment import Environment
from config.home import SOURCE_ROOT, home_from
from config.lifeline import GRACE_SECONDS, SUPERVISED, Lifeline, SignalPipe, complain, lock_file
from config.pace import Pace
from config.postgres.cluster import Cluster
from config.postgres.guard import EXIT_BUSY
from config.postgres.lifetime import wait_for_guard

# The guard needs this long in the worst case: fast shutdown, then immediate, then kill.
DATABASE_STOP_SECONDS = 75.0
BUSY_SECONDS = 60.0
# Between the end of a part and its next start, at PACE 1.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
# What stops it, such as a full disk, may be mended at any moment, and everybody waits for it.
LONGEST_DATABASE_PAUSE = 5.0
STABLE_SECONDS = 60.0
# Two small clusters: when one is stuck, the other works.
CLUSTERS = ("a", "b")
WEB_READY_SECONDS = 30.0


class StartRefused(Exception):
    """Nothing was started, or all of it was ended again; the message (if any) says why."""


@dataclass(slots=True)
class Part:
    """One child: how to start it, and the one that runs now."""

    name: str
    arguments: Sequence[str]
    stop_seconds: float = GRACE_SECONDS
    longest_pause: float = LONGEST_PAUSE
    process: "subprocess.Popen[bytes] | None" = None
    lifeline: Lifeline | None = None
    started: float = 0.0
    failures: int = 0
    due: float = field(default=0.0)

    def start(self) -> None:
        """Start the child in its own process group, holding the end of a pipe to us."""
        lifeline = Lifeline()
        self.process = subprocess.Popen(
            [sys.executable, "-m", *self.arguments],
            cwd=SOURCE_ROOT,
            env={**os.environ, **lifeline.environment(), SUPERVISED: "1"},
            stdin=subprocess.DEVNULL,
            pass_fds=[lifeline.reader],
            start_new_session=True,
        )
        lifeline.child_started()
        self.lifeline = lifeline
        self.started = time.monotonic()

    def ended(self) -> bool:
        """Whether a child that was started lives no more."""
        return self.process is not None and self.process.poll() is not None

    def clear_up(self) -> None:
        """Forget a dead child and end what is left of its process group."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.lifeline:
            self.lifeline.cut()
        self.process = self.lifeline = None

    def plan_restart(self, pace: Pace) -> float:
        """The pause until the next start: short at first, growing when it dies again and again."""
        now = time.monotonic()
        if now - self.started > pace.seconds(STABLE_SECONDS):
            self.failures = 0
        pause = pace.seconds(min(FIRST_PAUSE * 2.0**self.failures, self.longest_pause))
        self.failures += 1
        self.due = now + pause
        return pause

    def ask_to_end(self) -> None:
        """TERM to the child itself; it ends its own helpers."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()

    def wait_or_kill(self) -> None:
        """Give the child its time, then kill its group."""
        if self.process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self.stop_seconds)
        self.clear_up()


class Supervisor:
    """Starts the parts, keeps them alive, ends them in order."""

    def __init__(self, env: Environment, options: argparse.Namespace) -> None:
        self.env = env
        self.pace = Pace(env.pace)
        self.prepare_options = [f"--email={options.email}"]
        if options.no_example:
            self.prepare_options.append("--no-example")
        # make passes a Ctrl-C on, but a kill -9 of make reaches nobody: then its end is ours.
        self.parent = os.getppid() if options.end_with_parent else None
        self.signals = SignalPipe(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self.database = Part(
            "database", ["config.postgres.guard"], DATABASE_STOP_SECONDS, LONGEST_DATABASE_PAUSE
        )
        self.web = Part("web", ["config.web"])
        # They start when pages can be opened, which people wait for.
        self.background = [
            Part("worker", ["config.cli", "run_worker"]),
            Part("tick", ["config.cli", "run_tick"]),
            *(Part(f"cluster {name}", ["config.cli", "run_cluster", name]) for name in CLUSTERS),
        ]
        self.parts = [self.web, *self.background]
        if not env.database_url:
            self.parts.append(self.database)

    def run(self) -> int:
        """Until a signal ends us. Raises :class:`StartRefused` when there is nothing to run."""
        refuse_taken_port(self.env)
        try:
            if self.database in self.parts:
                self._start_database()
            self._prepare()
            self.web.start()
            self._announce()
            for part in self.background:
                part.start()
            self._keep_alive()
        finally:
            self._stop()
        return 0

    def _start_database(self) -> None:
        """Start the guard; wait for a command that still uses a server of its own."""
        cluster = Cluster(home_from(os.environ))
        end = time.monotonic() + BUSY_SECONDS
        told = False
        while not self._should_end():
            self.database.start()
            process = self.database.process
            assert process is not None
            if wait_for_guard(process, cluster):
                return
            status = process.wait()
            self.database.clear_up()
            if status != EXIT_BUSY or time.monotonic() > end:
                raise StartRefused("" if status != EXIT_BUSY else BUSY_MESSAGE)
            if not told:
                complain("waiting for a command that uses the database to finish")
                told = True
            time.sleep(0.5)
        raise StartRefused("stopped before the start")

    def _prepare(self) -> None:
        """Checks, migrations, static files and the first start's example, in one child."""
        prepare = Part("prepare", ["config.cli", "prepare", *self.prepare_options])
        prepare.start()
        assert prepare.process is not None
        while prepare.process.poll() is None:
            self._wait(1.0)
            if self._should_end():
                prepare.ask_to_end()
                prepare.wait_or_kill()
                raise StartRefused("stopped before the start")
        status = prepare.process.returncode
        prepare.clear_up()
        if status != 0:
            raise StartRefused("")

    def _announce(self) -> None:
        """Say the address as soon as a page can be opened."""
        end = time.monotonic() + WEB_READY_SECONDS
        while time.monotonic() < end and not self._should_end() and not self.web.ended():
            if answers(self.env):
                sys.stdout.write(f"\nFlowwatch runs at {self.env.frontend_url} (Ctrl-C ends it)\n")
                sys.stdout.flush()
                return
            time.sleep(0.05)

    def _keep_alive(self) -> None:
        while not self._should_end():
            now = time.monotonic()
            for part in self.parts:
                if part.ended():
                    assert part.process is not None
                    status = part.process.returncode
                    part.clear_up()
                    pause = part.plan_restart(self.pace)
                    complain(f"{part.name} ended (status {status}); again in {pause:g} s")
                elif part.process is None and now >= part.due:
                    part.start()
            waiting = [part.due for part in self.parts if part.process is None]
            self._wait(max(0.0, min(waiting) - time.monotonic()) if waiting else 60.0)

    def _wait(self, seconds: float) -> None:
        """Until a signal, the end of a child, or so many seconds."""
        if self.parent is not None:
            seconds = min(seconds, 1.0)
        select.select([self.signals.reader], [], [], seconds)
        self.signals.drain()

    def _should_end(self) -> bool:
        return self.signals.asked_to_end or (
            self.parent is not None and os.getppid() != self.parent
        )

    def _stop(self) -> None:
        """All that use it first, together; the database when nobody uses it any more."""
        users = [part for part in self.parts if part is not self.database]
        for part in users:
            part.ask_to_end()
        for part in users:
            part.wait_or_kill()
        self.database.ask_to_end()
        self.database.wait_or_kill()


BUSY_MESSAGE = (
    "a command still uses the database of this data folder; end it (for example an open "
    "'manage.py shell') and start again"
)


def run(arguments: Sequence[str]) -> int:
    """``flowwatch run``: returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        env = Environment.read()
        only_once = _hold_run_lock(env)
        try:
            return Supervisor(env, options).run()
        finally:
            if only_once is not None:
                os.close(only_once)
    except (StartRefused, ImproperlyConfigured) as error:
        if str(error):
            complain(str(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flowwatch run", description="Start database, web and workers; Ctrl-C ends all."
    )
    parser.add_argument(
        "--email", default="owner@example.com", help="address of the owner made on the first start"
    )
    parser.add_argument(
        "--no-example", action="store_true", help="make no tenant and no example data"
    )
    parser.add_argument(
        "--end-with-parent", action="store_true", help="end when the process that started this ends"
    )
    return parser


def _hold_run_lock(env: Environment) -> int | None:
    """One ``run`` for each data folder; any number against a ``DATABASE_URL``."""
    if env.database_url:
        return None
    home = home_from(os.environ)
    if not home.path.exists():
        refuse_taken_port(env)  # before a folder is left behind for nothing
    home.ensure()
    lock = lock_file(home.path / "run.lock", wait=False)
    if lock is None:
        raise StartRefused(
            f"Flowwatch already runs with the data folder {home.path}. End it first, or give "
            "this one a folder of its own with FLOWWATCH_DATA (and a PORT)."
        )
    return lock


def refuse_taken_port(env: Environment) -> None:
    """Say before anything starts that somebody else listens on our port."""
    family = socket.AF_INET6 if ":" in env.bind_address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((env.bind_address, env.port))
            probe.listen()
        except OSError as error:
            raise StartRefused(
                f"can't listen on {env.bind_address} port {env.port}: {error.strerror}. Choose "
                f"another port, for example: PORT={env.port + 1} make run"
            ) from error


def answers(env: Environment) -> bool:
    """Whether the web server answers ``/health/live``."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(env.bind_address, env.bind_address)  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(
        f"http://{host}:{env.port}/health/live",
        # Not of ALLOWED_HOSTS: "*" and ".example.com" are patterns. The checks let this one in.
        headers={"Host": urlsplit(env.frontend_url).netloc},
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False
