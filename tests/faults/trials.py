"""What a group of `make faults` is made of: trials, and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

NOTHING_WRONG = "0 lost, 0 doubled, rollups equal, each told on once"


class NotTried(Exception):
    """A trial can't be done on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one round of a trial.

    `tally` counts what adds up over rounds, `most` holds what only the worst round shows, `faults`
    says in words what must not be, `late` what took too long (as it may when the machine is busy).
    """

    tally: Mapping[str, int] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    said: str = ""

    @property
    def wrong(self) -> list[str]:
        """All that was not as it must be."""
        return [*self.faults, *self.late]


@dataclass(frozen=True, slots=True)
class Trial:
    """One line of the table: something is done `times` times, in rounds of `at_once`.

    `run(number)` does one round of so many and checks it; what it raises is a fault, too, but for
    :class:`NotTried`. A round that is ended in the midst is done again. `quick` is how many QUICK
    does, 0: none. `sizes` names what it is done with.
    """

    line: str
    target: str
    run: Callable[[int], Outcome]
    times: int
    at_once: int
    quick: int
    what: str = "kills"
    sizes: str = ""


def mutant(line: str, run: Callable[[], Outcome], *, sees: str = "") -> Trial:
    """A trial of a fault that was built in: void unless it finds a fault that says `sees`."""

    def caught(_: int) -> Outcome:
        try:
            faults = run().wrong
        except AssertionError as error:
            faults = [first_line(error)]
        found = [fault for fault in faults if sees in fault]
        if not found:
            return Outcome(faults=["not caught"])
        return Outcome(said=f"caught: {', '.join(found)}")

    return Trial(f"mutant: {line}", "caught", caught, 1, 1, 0, what="mutant")


def first_line(error: Exception) -> str:
    """What an error says, without what it quotes."""
    words = str(error).partition("\n")[0].partition("; its log")[0]
    return f"{type(error).__name__}: {words}"
