"""Which xdist worker runs what: tests of real processes go to one, one after the other.

They need the machine's two cores for themselves and share process trees within a file. Tests that run
command after command, and measure no time, go anywhere, a file at a time. (xdist's own
``xdist_group`` marks have no effect with pytest 9.2: it renames nodes in a way that pytest forgot.)
"""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parent.parent
PROCESSES, COMMANDS = "pytest.mark.processes", "pytest.mark.commands"


class ProcessesOneByOne(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Files that hold (or whose folder's conftest holds) the mark ``processes`` form one group."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        if _is_marked(file, PROCESSES):
            return "processes"
        return file if _is_marked(file, COMMANDS) else nodeid


@cache
def _is_marked(file: str, mark: str) -> bool:
    path = ROOT / file
    sources = [path, path.with_name("conftest.py")]
    return any(source.is_file() and mark in source.read_text() for source in sources)
