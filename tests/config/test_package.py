"""The installed package, which brings its own templates, static files and migrations."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from config.home import SOURCE_ROOT
from tests.config.trees import PATIENCE, Tree

pytestmark = pytest.mark.commands


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `pip install` fills it."""
    wheels = tmp_path_factory.mktemp("wheels")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(wheels)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(SOURCE_ROOT)],
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    [wheel] = wheels.glob("flowwatch-*.whl")
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_package_runs_and_serves_pages_with_their_files(installed: Path) -> None:
    tree = Tree(code=installed)
    try:
        tree.start_and_wait()
        page = httpx.get(f"{tree.url}/sign-in/")
        assert page.status_code == 200
        files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
        assert {name.rpartition(".")[2] for name in files} >= {"css", "js"}
        assert {httpx.get(tree.url + name).status_code for name in files} == {200}
        folders = {folder for pid in tree.pids() if (folder := _folder_of(pid))}
        assert folders == {installed}, "a part runs from elsewhere"
    finally:
        tree.throw_away()


def _folder_of(pid: int) -> Path | None:
    """Where a process works; None when it has ended since."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None
