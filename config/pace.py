"""How fast time-outs pass: tests of faults run leases and watches at a tenth of their length."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """`factor` 1 is real life."""

    factor: float = 1.0

    def seconds(self, value: float) -> float:
        """`value` seconds of real life at this pace."""
        return value * self.factor
