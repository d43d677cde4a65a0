"""A throw-away product for measuring: embedded PostgreSQL with its real settings, web and worker.

`carrier` adds what relays events and works on what is due.
"""

from __future__ import annotations

import contextlib
import http.cookiejar
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a-long-password-to-measure-with"


class Site:
    """The running product. `command` runs a management command beside it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.web = self.worker = 0
        self.environment = {
            **os.environ,
            "FLOWWATCH_DATA": str(folder),
            "PORT": str(port),
            "FRONTEND_URL": f"http://127.0.0.1:{port}",
            "DJANGO_SETTINGS_MODULE": "tests.bench.settings",
        }

    def command(self, *arguments: str, text: str | None = None) -> str:
        """Standard output of `manage.py …`."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True, input=text,
        )  # fmt: skip
        return done.stdout.strip()

    def fill(self, tenant: str, executions: int) -> None:
        """A tenant with a long history (`tests.bench.history`); nothing is done where it is there."""
        self.make_tenant(tenant)
        subprocess.run(
            [sys.executable, "-m", "tests.bench.history", tenant, "--executions", str(executions)],
            cwd=ROOT, env=self.environment, check=True,
        )  # fmt: skip

    def make_tenant(self, slug: str) -> None:
        """A tenant, unless it is there."""
        is_there = f"from tenants.models import Tenant; print(Tenant.objects.filter(slug={slug!r}).exists())"
        if self.command("shell", "--no-imports", "-c", is_there) != "True":
            self.command("create_tenant", slug.title(), "--slug", slug)

    def cpu_seconds(self) -> tuple[float, float]:
        """What the web processes and the database have used of processors so far (Linux)."""
        return _cpu_of(self.web_pids()), _cpu_of(self.database_pids())

    def web_pids(self) -> list[int]:
        """The web server's processes, its parent first."""
        return [self.web, *_children(self.web)]

    def database_pids(self) -> list[int]:
        """PostgreSQL's processes, the postmaster first."""
        [postmaster] = self.folder.rglob("postmaster.pid")
        pid = int(postmaster.read_text().split()[0])
        return [pid, *_children(pid)]

    def forget_web_peak(self) -> None:
        """Count `web_peak_mb` from now."""
        for pid in self.web_pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def web_peak_mb(self) -> float:
        """The greatest resident sizes of the web processes, added up."""
        return sum(_kilobytes(f"/proc/{pid}/status", "VmHWM") for pid in self.web_pids()) / 1024

    @contextlib.contextmanager
    def database(self) -> Iterator[psycopg.Connection[Any]]:
        """A session of the application's role, each statement its own transaction."""
        from config.home import home_from
        from config.postgres.cluster import APP_ROLE, Cluster

        parameters = Cluster(home_from(self.environment)).connection_parameters(APP_ROLE)
        with psycopg.connect(**parameters, autocommit=True) as connection:
            yield connection

    def wait_until_ready(self) -> None:
        """Return when the web server answers."""
        address = f"http://127.0.0.1:{self.port}/health/ready"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(address) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.1)
        raise TimeoutError("the web server did not become ready")

    def make_owner(self, tenant: str, email: str) -> None:
        """Somebody who can sign in."""
        self.command("create_member", tenant, email, "--role", "owner", "--password", PASSWORD)

    def sign_in(self, email: str) -> str:
        """The cookies of a signed-in owner."""
        jar = http.cookiejar.CookieJar()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        address = f"http://127.0.0.1:{self.port}/sign-in/"
        page = browser.open(address).read().decode()
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert found is not None
        fields = {
            "csrfmiddlewaretoken": found[1],
            "username": email,
            "email": email,
            "password": PASSWORD,
        }
        wanted = urllib.request.Request(
            address, urllib.parse.urlencode(fields).encode(), {"Referer": address}
        )
        browser.open(wanted)
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in jar)

    def get(self, path: str, cookie: str) -> str:
        """What somebody who signed in reads there."""
        wanted = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Cookie": cookie}
        )
        with urllib.request.urlopen(wanted) as answer:
            text: str = answer.read().decode()
            return text


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _cpu_of(pids: Iterable[int]) -> float:
    """Seconds of processors that these processes have used."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def pss_mb(pids: Iterable[int]) -> float:
    """Memory of processes together: what they share counts once (Linux)."""
    return sum(_kilobytes(f"/proc/{pid}/smaps_rollup", "Pss") for pid in pids) / 1024


def _kilobytes(file: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(file).read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_site(*, worker: bool = True, kept: Path | None = None) -> Iterator[Site]:
    """The product on a port of its own, ended afterwards; its data are thrown away, or `kept` there."""
    folder = kept or Path(tempfile.mkdtemp(prefix="flowwatch-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    site = Site(folder, free_port())
    os.environ.update({"FLOWWATCH_DATA": str(folder)})
    from config.home import home_from
    from config.postgres.cluster import Cluster
    from config.postgres.lifetime import server_for_a_command

    processes: list[subprocess.Popen[bytes]] = []
    try:
        with server_for_a_command(Cluster(home_from(os.environ))):
            site.command("migrate", "--verbosity", "0")
            site.command("collectstatic", "--no-input", "--verbosity", "0")
            commands = [[sys.executable, "-m", "config.web"]]
            if worker:
                commands.append([sys.executable, "manage.py", "run_worker"])
            processes += [
                subprocess.Popen(command, cwd=ROOT, env=site.environment, start_new_session=True)
                for command in commands
            ]
            site.web, site.worker = processes[0].pid, processes[-1].pid
            site.wait_until_ready()
            try:
                yield site
            finally:
                for process in processes:
                    os.killpg(process.pid, signal.SIGTERM)
                for process in processes:
                    process.wait(30)
    finally:
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def carrier(site: Site, **environment: str) -> Iterator[None]:
    """The tick and two clusters of workers, as `run` starts them; they may call this machine."""
    environment = {
        **site.environment,
        "OUTBOUND_ALLOWED_NETWORKS": "127.0.0.0/8",
        **environment,
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        for command in (["run_tick"], ["run_cluster", "a"], ["run_cluster", "b"])
    ]
    try:
        time.sleep(5)  # until the clusters have shown that they live
        yield
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGTERM)
        for process in processes:
            process.wait(60)
