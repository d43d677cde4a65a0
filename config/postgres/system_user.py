"""The system user that runs PostgreSQL when we are root: PostgreSQL refuses to be root itself."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.postgres.binaries import DatabaseUnavailable

NAME = "flowwatch"


@dataclass(frozen=True, slots=True)
class RunAs:
    """Who runs the server: ourselves, or (as root) the system user."""

    uid: int
    gid: int
    switch: bool

    def process_options(self) -> dict[str, Any]:
        """Keyword arguments for :class:`subprocess.Popen`."""
        if not self.switch:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give ``path`` to the server's user."""
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def folder(self, path: Path) -> None:
        """Make ``path``, closed to everyone but the server's user (and root)."""
        path.mkdir(mode=0o700, exist_ok=True)
        self.own(path)
        path.chmod(0o700)

    def check_can_enter(self, path: Path) -> None:
        """Refuse a data folder behind a closed door, naming the door."""
        if not self.switch or self._can_enter(path):
            return
        door = next(p for p in [*reversed(path.parents), path] if not self._can_enter(p))
        raise DatabaseUnavailable(
            f"The data folder {path} can't be used: as root, PostgreSQL runs as the system user "
            f"{NAME}, who may not enter {door}. Set FLOWWATCH_DATA to a folder that all may pass "
            "through, for example /var/lib/flowwatch/main, or run Flowwatch as an ordinary user."
        )

    def _can_enter(self, path: Path) -> bool:
        answer = subprocess.run(
            ["/bin/sh", "-c", 'cd "$0"', str(path)],
            cwd="/",
            capture_output=True,
            **self.process_options(),
        )
        return answer.returncode == 0


def database_user() -> RunAs:
    """Ourselves; as root the system user, made when missing."""
    if os.geteuid() != 0:
        return RunAs(os.geteuid(), os.getegid(), switch=False)
    try:
        entry = pwd.getpwnam(NAME)
    except KeyError:
        _create()
        entry = pwd.getpwnam(NAME)
    return RunAs(entry.pw_uid, entry.pw_gid, switch=True)


def _create() -> None:
    for command in (
        ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", NAME],
        ["adduser", "-S", "-D", "-H", "-s", "/bin/false", NAME],
    ):
        try:
            subprocess.run(command, check=True, capture_output=True)
            return
        except FileNotFoundError:
            continue
        except subprocess.CalledProcessError as error:
            reason = error.stderr.decode(errors="replace").strip()
            raise DatabaseUnavailable(f"The system user {NAME} can't be made: {reason}") from error
    raise DatabaseUnavailable(
        f"PostgreSQL can't run as root and neither useradd nor adduser is here to make the system "
        f"user {NAME}: make it by hand or run Flowwatch as an ordinary user."
    )
