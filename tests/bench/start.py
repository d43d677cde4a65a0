"""How long `make run` takes until somebody can sign in: the first time in a new clone, and again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.site import ROOT, free_port
from tests.figures import Figure

_LONGEST = 600.0
# What a `make bench` around us would say to the clone's `make run`, and where our own data are.
_OURS = {"FLOWWATCH_DATA", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS"}


def measure(bench: Bench) -> Iterator[Figure]:
    """In a clone without environment and data; packages come from pip's cache where it has them."""
    folder = Path(tempfile.mkdtemp(prefix="flowwatch-start-"))
    folder.chmod(0o755)
    try:
        clone = folder / "clone"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        environment = {
            **{name: value for name, value in os.environ.items() if name not in _OURS},
            "FLOWWATCH_DATA": str(folder / "data"),
            "PORT": str(free_port()),
        }
        for line, limit in (("first `make run` in a new clone", 60), ("second `make run`", 5)):
            seconds = _seconds_until_sign_in(clone, environment)
            yield Figure(
                section="start", line=f"{line}, to the sign-in page", met=seconds < limit,
                target=f"under {limit} s", reached=f"{seconds:.1f} s",
                sizes="packages in pip's cache; example data are made by the first",
            )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _seconds_until_sign_in(clone: Path, environment: dict[str, str]) -> float:
    begun = time.monotonic()
    with (clone.parent / "log").open("ab") as log:
        product = subprocess.Popen(
            ["make", "run"], cwd=clone, env=environment, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_hear_interrupts,
        )  # fmt: skip
    try:
        while time.monotonic() - begun < _LONGEST and product.poll() is None:
            with contextlib.suppress(OSError):
                address = f"http://127.0.0.1:{environment['PORT']}/sign-in/"
                with urllib.request.urlopen(address) as answer:
                    if answer.status == 200:
                        return time.monotonic() - begun
            time.sleep(0.05)
        raise RuntimeError((clone.parent / "log").read_text()[-3_000:])
    finally:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.killpg(product.pid, signal.SIGINT)
        product.wait(60)


def _hear_interrupts() -> None:
    """A bench that runs in the background ignores them, and so would its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
