"""Run the Python client's own tests on every Python that it supports and that is found here.

Each version gets an environment under client/.venvs with the client and its test tools; coverage below
90 % fails. Then the wheel is built, installed alone into a fresh environment of each version, and its
command is run. A Python that is not found is said, not passed over in silence.

usage: test_client.py [--versions 3.11,3.12] [pytest's arguments]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ("3.10", "3.11", "3.12", "3.13")
LEAST_COVERAGE = 90

CLIENT = Path(__file__).resolve().parent.parent / "client"
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--versions", default=",".join(VERSIONS))
    options, pytest_arguments = parser.parse_known_args()
    results: dict[str, str] = {}
    wheel: Path | None = None
    with tempfile.TemporaryDirectory(prefix="flowwatch-client-") as folder:
        for version in options.versions.split(","):
            print(f"\n=== Python {version}", flush=True)
            interpreter = find(version)
            if interpreter is None:
                results[version] = "SKIPPED: there is no such Python here"
                print(results[version])
                continue
            python = environment(version, interpreter)
            if not tests_pass(python, pytest_arguments):
                results[version] = "FAILED: tests or coverage"
                continue
            wheel = wheel or build(python, Path(folder))
            is_alone = works_alone(interpreter, wheel, Path(folder) / version)
            results[version] = "passed" if is_alone else "FAILED: the wheel alone"
    print()
    for version, result in results.items():
        print(f"Python {version}: {result}")
    ran = [result for result in results.values() if not result.startswith("SKIPPED")]
    return 0 if ran and all(result == "passed" for result in ran) else 1


def find(version: str) -> Path | None:
    """An interpreter of this version that runs."""
    for candidate in _candidates(version):
        said = subprocess.run(
            [candidate, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if said.stdout.strip() == version:
            return candidate
    return None


def _candidates(version: str) -> Iterator[Path]:
    name = f"python{version}"
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        yield Path(getattr(sys, "_base_executable", sys.executable))
    if found := shutil.which(name):
        yield Path(found)
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    yield from sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"), reverse=True)
    for folder in ("/usr/local/bin", "/opt/homebrew/bin", "/usr/bin"):
        if (path := Path(folder) / name).exists():
            yield path


def environment(version: str, interpreter: Path) -> Path:
    """The Python of client/.venvs/<version>, made anew when what it needs has changed."""
    folder = CLIENT / ".venvs" / version
    python, stamp = folder / "bin" / "python", folder / ".installed"
    wanted = hashlib.sha256((CLIENT / "pyproject.toml").read_bytes()).hexdigest()
    if not (python.exists() and stamp.exists() and stamp.read_text() == wanted):
        subprocess.run([interpreter, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, *PIP, "install", "--editable", f"{CLIENT}[dev]"], check=True)
        stamp.write_text(wanted)
    return python


def tests_pass(python: Path, arguments: list[str]) -> bool:
    measured = ["--cov", "--cov-report=term:skip-covered", f"--cov-fail-under={LEAST_COVERAGE}"]
    ended = subprocess.run(
        [python, "-m", "pytest", "-q", "-n", "2", *([] if arguments else measured), *arguments],
        cwd=CLIENT,
        check=False,
    )
    return ended.returncode == 0


def build(python: Path, folder: Path) -> Path:
    """The wheel, made of the sdist as `python -m build` does it."""
    made = folder / "dist"
    command = [python, "-m", "build", "--no-isolation", "--outdir", made, CLIENT]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = made.glob("*.whl")
    (sdist,) = made.glob("*.tar.gz")
    print(f"built {sdist.name} and {wheel.name} ({wheel.stat().st_size:,} bytes)", flush=True)
    return wheel


def works_alone(interpreter: Path, wheel: Path, folder: Path) -> bool:
    """Whether the wheel's command runs where nothing else was installed."""
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "python", *PIP, "install", wheel], check=True)
    alone = {"PATH": os.environ["PATH"], "FLOWWATCH_LOG": str(folder / "executions.db")}
    command = folder / "bin" / "flowwatch-client"
    steps = (
        [folder / "bin" / "python", "-W", "error", "-c", "import flowwatch_client"],
        [command, "run", "--workflow", "trial", "--", "true"],
        [command, "stats"],
    )
    return all(
        subprocess.run(step, cwd=folder, env=alone, check=False).returncode == 0 for step in steps
    )


if __name__ == "__main__":
    sys.exit(main())
