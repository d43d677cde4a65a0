"""One embedded cluster: where its files lie, which secrets open it and how clients reach it."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.home import Home

SUPERUSER = "postgres"
OWNER_ROLE = "flowwatch_owner"
APP_ROLE = "flowwatch_app"
DATABASE = "flowwatch"
PORT = 5432
# sun_path holds 108 bytes on Linux, 104 on macOS, with the closing zero; the name takes 14.
LONGEST_SOCKET_FOLDER = 103 - len("/.s.PGSQL.5432")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Paths, secrets and connection parameters; touches nothing but the secret files."""

    home: Home

    @property
    def folder(self) -> Path:
        """Everything of the database server."""
        return self.home.path / "postgres"

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.folder / "data"

    @property
    def upgraded(self) -> Path:
        """Where `upgrade_database` puts the new files for the moment in which the old ones move away."""
        return self.folder / "data.upgraded"

    @property
    def written_folders(self) -> tuple[Path, ...]:
        """Where the server writes; its log of changes may lie on a disk of its own."""
        return self.data, self.data / "pg_wal"

    @property
    def socket_folder(self) -> Path:
        """Holds the one socket clients use; elsewhere when the data folder's path is too long."""
        inside = self.folder / "socket"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER:
            return inside
        key = hashlib.sha256(os.fsencode(self.home.path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"flowwatch-{os.geteuid()}-{key}"

    @property
    def socket_lock(self) -> Path:
        """What PostgreSQL writes its process id into as long as it listens."""
        return self.socket_folder / f".s.PGSQL.{PORT}.lock"

    @property
    def guard_lock(self) -> Path:
        """Held by the guard as long as it answers for a server of this folder."""
        return self.folder / "guard.lock"

    @property
    def ready_file(self) -> Path:
        """Holds the process id of the guard whose server takes connections."""
        return self.folder / "ready"

    @property
    def users_lock(self) -> Path:
        """Shared by the commands that use a server which one of them started."""
        return self.folder / "users.lock"

    def password(self, role: str) -> str:
        """The random password of ``role``, made on first use."""
        return self.home.secret(f"database-password-{role}")

    def connection_parameters(self, role: str, database: str = DATABASE) -> dict[str, Any]:
        """What ``psycopg.connect`` takes."""
        return {
            "host": str(self.socket_folder),
            "port": PORT,
            "user": role,
            "password": self.password(role),
            "dbname": database,
        }

    def django_settings(self, role: str) -> dict[str, Any]:
        """An entry of Django's ``DATABASES``."""
        parameters = self.connection_parameters(role)
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": parameters["dbname"],
            "USER": role,
            "PASSWORD": parameters["password"],
            "HOST": parameters["host"],
            "PORT": str(PORT),
            "CONN_MAX_AGE": 0,
            "OPTIONS": {},
        }
