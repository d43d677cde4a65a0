"""The version of the workflows: as set, as the platform says, as git has checked out."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowwatch_client import add_tags, configure, set_trigger, workflow
from flowwatch_client.capture import version
from recorded import Recorded

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*version._VARIABLES, "FLOWWATCH_PARENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_setting_comes_first_then_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_SHA", COMMIT)
    assert version.version_of("v7") == "v7"
    assert version.version_of(None) == COMMIT[:12]


@pytest.mark.parametrize("way", ["branch", "packed", "detached", "worktree"])
def test_the_commit_of_a_checkout(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = tmp_path / ".git"
    put(git / "HEAD", f"{COMMIT}\n" if way == "detached" else "ref: refs/heads/main\n")
    if way == "packed":
        put(git / "packed-refs", f"# pack-refs\n{COMMIT} refs/heads/main\n")
    else:
        put(git / "refs/heads/main", f"{COMMIT}\n")
    folder = tmp_path / "orders" / "deep"
    if way == "worktree":
        folder = tmp_path / "tree"
        put(folder / ".git", f"gitdir: {git}/worktrees/tree\n")
        put(git / "worktrees/tree/HEAD", "ref: refs/heads/main\n")
        put(git / "worktrees/tree/commondir", "../..\n")
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    assert version.version_of(None) == COMMIT[:12]


@pytest.mark.parametrize(
    "head", ["ref: refs/heads/none", "nonsense", "ref: ../../../etc/passwd", ""]
)
def test_what_is_no_commit_is_no_version(head: str, tmp_path: Path) -> None:
    put(tmp_path / ".git/HEAD", head)
    assert version.version_of(None) is None


def test_the_version_stands_with_the_execution(recorded: Recorded) -> None:
    configure(log=recorded.path, version="v7")
    with workflow("orders"):
        add_tags("a", "b", "a")
        set_trigger("webhook", {"order": 1})
    with workflow("orders", version="v8"):
        pass
    (first, _), (second, _) = recorded.executions()
    assert (first.version, second.version) == ("v7", "v8")
    assert first.tags == '["a","b"]'
    assert (first.trigger_type, first.trigger_data) == ("webhook", '{"order":1}')


def test_a_program_that_is_part_of_an_execution_says_so(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWWATCH_PARENT", "outer/step")
    with workflow("orders") as run, workflow("inner"):
        pass
    (first, _), (second, _) = recorded.executions()
    assert (first.parent_execution_id, first.parent_node_id) == ("outer", "step")
    assert (second.parent_execution_id, second.parent_node_id) == (run.id, None)
