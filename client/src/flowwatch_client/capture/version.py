"""Which version of the workflows runs: as set, as the platform says, or as checked out by git."""

from __future__ import annotations

import os
import re
from pathlib import Path

_VARIABLES = (
    "GIT_COMMIT", "GITHUB_SHA", "CI_COMMIT_SHA", "HEROKU_SLUG_COMMIT", "SOURCE_VERSION",
    "RENDER_GIT_COMMIT", "VERCEL_GIT_COMMIT_SHA", "CODEBUILD_RESOLVED_SOURCE_VERSION",
)  # fmt: skip
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_SHOWN = 12
_LONGEST_FILE = 1_000_000


def version_of(setting: str | None) -> str | None:
    """The setting, else the first 12 digits of the commit in use; None when nothing tells."""
    if setting:
        return setting[:255]
    for name in _VARIABLES:
        if os.environ.get(name):
            return os.environ[name][:_SHOWN]
    try:
        return _checked_out(Path.cwd())
    except (OSError, ValueError):
        return None


def _checked_out(folder: Path) -> str | None:
    """The commit of the git checkout around a folder, read without git."""
    for above in (folder, *folder.parents):
        git = above / ".git"
        if git.is_file():  # a worktree or a submodule
            git = above / _read(git).removeprefix("gitdir:").strip()
        if git.is_dir():
            return _head(git)
    return None


def _head(git: Path) -> str | None:
    head = _read(git / "HEAD").strip()
    if not head.startswith("ref:"):
        return _short(head)
    name = head.removeprefix("ref:").strip()
    shared = git / "commondir"
    homes = [git, git / _read(shared).strip()] if shared.is_file() else [git]
    for home in homes:
        if (home / name).is_file():
            return _short(_read(home / name).strip())
    for home in homes:
        if (home / "packed-refs").is_file():
            for line in _read(home / "packed-refs").splitlines():
                if line.endswith(f" {name}"):
                    return _short(line.split(" ")[0])
    return None


def _short(commit: str) -> str | None:
    return commit[:_SHOWN] if _COMMIT.fullmatch(commit) else None


def _read(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.read(_LONGEST_FILE)
