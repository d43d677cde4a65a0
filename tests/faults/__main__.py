"""`python -m tests.faults [GROUP…] [--quick]`: kill, stop, fill up, overload; write what came of it.

Each round's figures are appended to `docs/figures/reliability.jsonl` when it is done. A command that
was ended is called again and goes on where it was: it reads from that file what was done of the
same series, that is, with the same product and the same tests (`series`). --quick tries a little of
each and writes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests import figures
from tests.faults.trials import NotTried, Outcome, Trial, first_line

DOCUMENT = "reliability"
# Each is a module with TRIALS, and the section of the document if that is another than its name.
GROUPS = ("web", "worker", "database", "overload", "alerts", "retention")
# A change of anything else, as of a page's look, leaves what was measured as it is.
MEASURED = (
    "config", "tenants", "monitoring", "scheduling", "alerts", "requirements",
    "tests/faults", "tests/races", "tests/config",
    "tests/alerts/test_storms.py", "tests/bench/load.py", "tests/bench/data.py",
)  # fmt: skip


def read_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """``groups`` (all when none is named) and ``quick``."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    # argparse compares the default itself, as one value, with the choices.
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], default=[])
    parser.add_argument("--quick", action="store_true", help="a little of each; nothing is written")
    wanted = parser.parse_args(arguments)
    wanted.groups = wanted.groups or list(GROUPS)
    return wanted


def main() -> int:
    """The exit status is 1 when something was not as it must be."""
    wanted = read_arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that trees are taken down
    all_met = True
    for name in wanted.groups:
        group = importlib.import_module(f"tests.faults.{name}")
        runner = Runner(name, section=getattr(group, "SECTION", name))
        all_met &= runner.try_all(group.TRIALS) if not wanted.quick else sample(group.TRIALS)
    return 0 if all_met else 1


class Runner:
    """Does what the figures of a group lack."""

    def __init__(self, group: str, *, section: str, root: Path = figures.ROOT) -> None:
        self.command = f"make faults GROUP={group}"
        self.section, self.root = section, root
        self.series = series(root)

    def try_all(self, trials: Sequence[Trial]) -> bool:
        """Do the rounds that are left; say whether all, earlier ones too, were as they must be.

        Of what can't be tried here nothing is written.
        """
        for trial in trials:
            for number in rounds(trial.times - self.done(trial), trial.at_once):
                outcome = one_round(trial, number)
                if outcome is None:
                    break
                self._append(trial, number, outcome)
        return all(figure.met for trial in trials for figure in self.figures(trial))

    def done(self, trial: Trial) -> int:
        """How many of a trial are in the figures already."""
        return sum(figure.tally[trial.what] for figure in self.figures(trial))

    def figures(self, trial: Trial) -> list[figures.Figure]:
        """A trial's figures of this series."""
        found = figures.of_series(DOCUMENT, self.section, self.series, root=self.root)
        return [figure for figure in found if figure.line == trial.line]

    def _append(self, trial: Trial, number: int, outcome: Outcome) -> None:
        figure = figures.Figure(
            section=self.section,
            line=trial.line,
            target=trial.target,
            command=self.command,
            sizes=trial.sizes,
            tally={trial.what: number, **outcome.tally},
            most=dict(outcome.most),
            reached="; ".join(filter(None, [*outcome.wrong, outcome.said])),
            met=not outcome.wrong,
            series=self.series,
        )
        figures.append(DOCUMENT, figure, root=self.root)


def sample(trials: Sequence[Trial]) -> bool:
    """Do a little of each trial, and write nothing."""
    outcomes = [one_round(trial, trial.quick) for trial in trials if trial.quick]
    return not any(outcome.wrong for outcome in outcomes if outcome)


def rounds(left: int, at_once: int) -> list[int]:
    """How many each round does of what is left."""
    return [min(at_once, left - begun) for begun in range(0, left, at_once)]


def one_round(trial: Trial, number: int) -> Outcome | None:
    """Do it, and print what came of it; None: it can't be tried here."""
    print(f"{trial.line}: {number} {trial.what} …", flush=True)
    begun = time.monotonic()
    try:
        outcome = trial.run(number)
    except NotTried as reason:
        print(f"  NOT TRIED: {reason}", flush=True)
        return None
    except Exception as error:  # whatever a part that was killed makes fail, it is a fault
        print(error, file=sys.stderr)
        outcome = Outcome(faults=[first_line(error)])
    counted = [f"{count:,} {word}" for word, count in outcome.tally.items()]
    measured = [f"{value:g} {word}" for word, value in outcome.most.items()]
    faults = [f"FAULT: {fault}" for fault in outcome.wrong]
    words = ", ".join(filter(None, [*counted, *measured, outcome.said, *faults]))
    print(f"  {words} ({time.monotonic() - begun:.0f} s)", flush=True)
    return outcome


def series(root: Path) -> str:
    """Names the product and the tests that are measured: what they are changed begins anew."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments, "--", *MEASURED]
        return subprocess.run(command, cwd=root, capture_output=True, text=True).stdout.strip()

    changed = git("diff", "HEAD").encode()
    for new in git("ls-files", "--others", "--exclude-standard").splitlines():
        changed += new.encode() + (root / new).read_bytes()
    return git("log", "-1", "--format=%h") + (
        "+" + hashlib.sha256(changed).hexdigest()[:7] if changed else ""
    )


if __name__ == "__main__":
    sys.exit(main())
