"""Which xdist worker runs what: tests of real processes go to two, one after the other in each.

They wait more than they compute, and share process trees within a file; more than two trees at a time
are too many for two cores. (xdist's own ``xdist_group`` marks have no effect with pytest 9.2: it
renames nodes in a way that pytest forgot.)
"""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parent.parent
MARK = "pytest.mark.processes"


class ProcessesOneByOne(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Files that hold (or whose folder's conftest holds) the mark ``processes`` form two groups."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        if not _starts_processes(file):
            return nodeid
        return "faults" if file.startswith("tests/faults/") else "processes"


@cache
def _starts_processes(file: str) -> bool:
    path = ROOT / file
    sources = [path, path.with_name("conftest.py")]
    return any(source.is_file() and MARK in source.read_text() for source in sources)
