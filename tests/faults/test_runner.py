"""`make faults` does what is left, writes what came of it, and calls a fault a fault."""

from __future__ import annotations

import inspect
import subprocess
from pathlib import Path

import pytest

from tests import figures
from tests.bench import data, load
from tests.faults import alerts
from tests.faults.__main__ import DOCUMENT, MEASURED, Runner, sample
from tests.faults.trials import NotTried, Outcome, Trial, mutant


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with an empty table."""
    (tmp_path / "docs").mkdir()
    page = "<!-- figures: web -->\n<!-- end of figures -->\n"
    (tmp_path / "docs/reliability.md").write_text(page)
    (tmp_path / "config").mkdir()
    change(tmp_path, "first")
    return tmp_path


def change(root: Path, content: str) -> None:
    """Commit other code."""
    (root / "config/code.py").write_text(content)
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", content]):
        subprocess.run(["git", *command], cwd=root, check=True)


class Kills:
    """A trial's rounds: what each does."""

    def __init__(self) -> None:
        self.rounds: list[int] = []
        self.outcomes: dict[int, Outcome | BaseException] = {}

    def __call__(self, number: int) -> Outcome:
        outcome = self.outcomes.get(len(self.rounds), Outcome({"lost": 0}))
        if isinstance(outcome, BaseException):
            raise outcome
        self.rounds.append(number)
        return outcome

    @property
    def trials(self) -> list[Trial]:
        return [Trial("kills", "none lost", self, times=50, at_once=20, quick=3)]


def try_all(kills: Kills, root: Path) -> bool:
    return Runner("web", section="web", root=root).try_all(kills.trials)


def table(root: Path) -> str:
    return (root / "docs/reliability.md").read_text()


def test_what_was_ended_goes_on_where_it_was(root: Path) -> None:
    kills = Kills()
    kills.outcomes[2] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        try_all(kills, root)
    assert "40 kills, 0 lost" in table(root)
    del kills.outcomes[2]
    assert try_all(kills, root)
    assert kills.rounds == [20, 20, 10]
    assert "50 kills, 0 lost" in table(root)
    assert try_all(kills, root)
    assert len(kills.rounds) == 3, "nothing was left to do"


def test_other_code_begins_anew(root: Path) -> None:
    kills = Kills()
    assert try_all(kills, root)
    change(root, "second")
    assert try_all(kills, root)
    assert kills.rounds == [20, 20, 10] * 2
    assert "50 kills" in table(root)
    (root / "config/code.py").write_text("not committed")
    assert try_all(kills, root)
    assert len(kills.rounds) == 9
    (root / "config/new.py").write_text("not yet added")
    assert try_all(kills, root)
    assert len(kills.rounds) == 12
    (root / "config/new.py").write_text("changed")
    assert try_all(kills, root)
    assert len(kills.rounds) == 15
    (root / "config/new.py").unlink()
    (root / "docs/other.md").write_text("words")
    change(root, "not committed")
    assert try_all(kills, root)
    assert len(kills.rounds) == 18


@pytest.mark.parametrize("file", [*alerts.FILES.values(), *map(inspect.getfile, (load, data))])
def test_what_a_group_runs_is_part_of_its_series(file: str) -> None:
    assert (figures.ROOT / file).relative_to(figures.ROOT).as_posix().startswith(MEASURED)


def test_a_fault_stays_a_fault_of_its_series(root: Path) -> None:
    kills = Kills()
    kills.outcomes[1] = Outcome({"lost": 2}, faults=["2 lost"])
    assert not try_all(kills, root)
    assert "| 50 kills, 2 lost; 2 lost | **no** |" in table(root)
    assert not try_all(kills, root), "also when nothing was left to do"


def test_what_breaks_is_a_fault(root: Path) -> None:
    def break_down(number: int) -> Outcome:
        raise AssertionError("after 120 s still not: ready; its log: …")

    trial = Trial("kills", "none lost", break_down, times=1, at_once=1, quick=1)
    assert not Runner("web", section="web", root=root).try_all([trial])
    assert "AssertionError: after 120 s still not: ready | **no** |" in table(root)


def test_what_cannot_be_tried_here_is_written_nowhere_and_tried_the_next_time(root: Path) -> None:
    kills = Kills()
    kills.outcomes[0] = NotTried("only root can")
    assert try_all(kills, root)
    assert sample(kills.trials)
    assert figures.read(DOCUMENT, root=root) == []
    del kills.outcomes[0]
    assert try_all(kills, root)
    assert kills.rounds == [20, 20, 10]


def test_quick_does_a_little_and_writes_nothing(root: Path) -> None:
    kills = Kills()
    assert sample(kills.trials)
    assert kills.rounds == [3]
    assert figures.read(DOCUMENT, root=root) == []


def test_a_mutant_must_be_caught(root: Path) -> None:
    runner = Runner("web", section="web", root=root)
    caught = mutant("answers early", lambda: Outcome(faults=["late", "3 lost"]), sees="lost")
    assert runner.try_all([caught])
    assert "1 mutant; caught: 3 lost | yes |" in table(root)
    other = mutant("sleeps", lambda: Outcome(faults=["late"]), sees="lost")
    assert not runner.try_all([other]), "found something else"
    assert "1 mutant; not caught | **no** |" in table(root)
