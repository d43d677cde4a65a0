"""What `doctor` finds."""

from __future__ import annotations

import dataclasses
import enum


class State(str, enum.Enum):
    """How good a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclasses.dataclass(frozen=True)
class Check:
    """One finding; `advice` says what to do where something is to be done."""

    name: str
    state: State
    text: str
    advice: str = ""
