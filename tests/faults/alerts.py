"""The tests of the carrier and of alerts, with each kill as often as a group does it.

They look at each part and each fault of a receiver by itself, on the database of the tests; they hold their
mutants, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from config.home import SOURCE_ROOT
from tests.faults.trials import Outcome, Trial

SECTION = "worker"
FILES = {
    "carrier: each part killed, idle and busy; zombies; what hangs": "tests/faults/test_carrier.py",
    "carrier: mutants": "tests/faults/test_mutants.py",
    "alerts: receivers that misbehave, workers killed while they send": "tests/faults/test_alerts.py",
    "alerts: mutants": "tests/faults/test_alerts_mutants.py",
    "alerts: a storm of 10,000 failures": "tests/alerts/test_storms.py",
}
KILLS = 10


def run_tests(file: str, kills: int) -> Outcome:
    """All tests of a file in a pytest of its own, with so many kills of each kind."""
    with tempfile.TemporaryDirectory(prefix="flowwatch-faults-") as folder:
        report = Path(folder) / "report.xml"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", file, f"--junitxml={report}"],
            cwd=SOURCE_ROOT,
            env={**os.environ, "FAULT_KILLS": str(kills)},
        )
        cases = list(ET.parse(report).iter("testcase"))
    failed = [case for case in cases if {"failure", "error"} & {part.tag for part in case}]
    return Outcome(
        tally={"tests": len(cases), "failed": len(failed)},
        faults=[str(case.get("name")) for case in failed],
    )


def trial_of(line: str, file: str) -> Trial:
    """The tests of one file as one line of the table."""
    return Trial(
        line,
        "0 failed",
        lambda kills: run_tests(file, kills),
        times=KILLS,
        at_once=KILLS,
        quick=0,
        what="kills of each kind",
    )


TRIALS = tuple(trial_of(line, file) for line, file in FILES.items())
