"""Making a backup: one snapshot of the running database, streamed into one file."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import IO, Final

from config.backup import manifest as manifests
from config.backup.archive import Draft
from config.backup.manifest import Manifest
from config.backup.place import Place, Refused
from config.postgres.binaries import Binaries

PIECE: Final = 1 << 18
# Ingest goes first where processors are short.
NICENESS: Final = 10


def write_backup(
    target: IO[bytes], place: Place, client: Binaries, *, secret_key: str | None = None
) -> Manifest:
    """Write what is committed now to `target`; nobody who reads or writes meanwhile has to wait.

    Raises :class:`Refused` when `pg_dump` could not, with its words.
    """
    with place.connect() as session, session.transaction():
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        [(snapshot,)] = session.execute("SELECT pg_export_snapshot()").fetchall()
        with Draft(target) as draft:
            with draft.dump() as into:
                _dump(into, place, client, snapshot)
            manifest = manifests.describe(session, place, programs=client.major)
            draft.finish(manifest, secret_key)
        return manifest


def _dump(into: IO[bytes], place: Place, client: Binaries, snapshot: str) -> None:
    address, secrets = place.for_programs()
    command = [
        client.program("pg_dump"), f"--dbname={address}", f"--snapshot={snapshot}",
        "--format=custom", "--compress=0", "--no-password", "--lock-wait-timeout=60s",
    ]  # fmt: skip
    with tempfile.TemporaryFile() as said:
        dump = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            env={**os.environ, **secrets},
        )
        assert dump.stdout is not None
        try:
            os.setpriority(os.PRIO_PROCESS, dump.pid, NICENESS)
            shutil.copyfileobj(dump.stdout, into, PIECE)
        finally:
            # Ends it when the target took no more.
            dump.stdout.close()
            status = dump.wait()
        if status != 0:
            said.seek(0)
            words = said.read().decode(errors="replace").strip()
            raise Refused(f"pg_dump ended with status {status}: {words}")
