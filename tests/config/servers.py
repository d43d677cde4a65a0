"""The real web server as a process of its own, on the calling test's database."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

import httpx
from django.conf import settings

from config.environment import Environment
from config.home import SOURCE_ROOT
from config.lifeline import Lifeline
from config.web import READY
from tests.config.trees import PATIENCE, free_port, wait_for


class WebServer:
    """granian as in production; tests that use it need committed data (transaction=True)."""

    def __init__(self, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.environment = environment
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self.lifeline = Lifeline()
        self.log = Path(settings.HOME.path) / f"web-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "config.web"],
                cwd=SOURCE_ROOT,
                env={
                    **os.environ,
                    **self.lifeline.environment(),
                    # With this worker's database, by the variables of this process.
                    "DJANGO_SETTINGS_MODULE": "tests.settings",
                    "PORT": str(self.port),
                    "INGEST_WRITER": "thread",
                    **self.environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self.lifeline.reader],
                start_new_session=True,
            )
        self.lifeline.child_started()
        wait_for(
            self._all_serve, PATIENCE, f"the web server answers; its log: {self.log.read_text()}"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.lifeline.cut()
        self.process.wait(PATIENCE)

    def _all_serve(self) -> bool:
        """Whether each of its processes has started: tests of races want to meet in several."""
        said = self.log.read_text()
        assert self.process.poll() is None, said
        if said.count(READY) < Environment.read().web_workers:
            return False
        try:
            return httpx.get(f"{self.url}/health/live", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False
