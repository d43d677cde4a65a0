"""The file of a backup: a zip of the compressed dump, the manifest, and the secret key if wanted.

The manifest and the zip's directory come last, so a file that was cut off is never taken for a whole
one; each member has a checksum. Parts that were compressed already are stored as they are.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Self, cast

import zstandard

from config.backup import manifest as manifests
from config.backup.manifest import Manifest
from config.backup.place import Refused

DUMP: Final = "database.dump.zst"
MANIFEST: Final = "manifest.json"
KEY: Final = "secret-key"
# Beyond this, smaller costs more of the processors that ingest needs.
LEVEL: Final = 1


class Draft:
    """A backup that is being written; left before :meth:`finish`, it stays without an end."""

    def __init__(self, target: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(target, "w", zipfile.ZIP_STORED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Else it would write its directory when it is thrown away, onto what takes no more.
        self._zip.fp = None

    @contextlib.contextmanager
    def dump(self) -> Iterator[IO[bytes]]:
        """Takes the output of `pg_dump`."""
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        with (
            self._zip.open(_member(DUMP), "w", force_zip64=True) as member,
            compressor.stream_writer(member, closefd=False) as writer,
        ):
            yield cast("IO[bytes]", writer)

    def finish(self, manifest: Manifest, secret_key: str | None) -> None:
        """Add what is small and the directory: from now on it is whole."""
        if secret_key is not None:
            self._zip.writestr(_member(KEY), secret_key + "\n")
        self._zip.writestr(_member(MANIFEST), manifests.encode(manifest))
        self._zip.close()


class Archive:
    """A whole backup; `secret_key` when it holds it. Raises :class:`Refused` for a file that is none."""

    def __init__(self, path: Path) -> None:
        with _damage_told():
            try:
                self._zip = zipfile.ZipFile(path)
            except OSError as error:
                raise Refused(f"{path} can't be read: {error.strerror}.") from error
            self._zip.getinfo(DUMP)
            self.manifest = manifests.decode(self._zip.read(MANIFEST))
            self.secret_key = self._read_key()

    def _read_key(self) -> str | None:
        if KEY not in self._zip.namelist():
            return None
        return self._zip.read(KEY).decode().strip()

    @contextlib.contextmanager
    def dump(self) -> Iterator[IO[bytes]]:
        """The output of `pg_dump`. Reading raises :class:`Refused` where it was damaged."""
        with _damage_told():
            member = self._zip.open(DUMP)
        with member:
            yield cast("IO[bytes]", _Dump(member))


class _Dump:
    """What is read of a dump, decompressed."""

    def __init__(self, member: IO[bytes]) -> None:
        self._reader = zstandard.ZstdDecompressor().stream_reader(member, read_across_frames=True)

    def read(self, size: int = -1) -> bytes:
        with _damage_told():
            return self._reader.read(size)


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    """Turn what libraries make of a damaged file into :class:`Refused`."""
    try:
        yield
    except Refused:
        raise
    except Exception as error:  # zipfile and zstandard raise nearly anything for damaged bytes
        raise Refused(
            f"This is no whole backup of Flowwatch's, or it is damaged: {error}"
        ) from error


@contextlib.contextmanager
def written_whole(path: Path, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """A file that appears under its name when the block ended well, on disk; else nothing does.

    Nobody but its owner may read it. What an earlier attempt left goes. Raises :class:`Refused` when
    the name is taken, when another backup writes it or when somebody else put something in the way.
    """
    if os.path.lexists(path) and not overwrite:
        raise Refused(f"{path} exists already: give another name, or --overwrite.")
    partial = path.with_name(f"{path.name}.partial")
    try:
        _remove_leftover(partial)
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise _another(partial) from error
    except OSError as error:
        raise Refused(f"{partial} can't be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "r+b") as file:
        _lock(descriptor, partial)
        try:
            yield file
            file.flush()
            os.fsync(descriptor)
            partial.rename(path)
        except BaseException:  # also Ctrl-C: half a backup is of no use to anybody
            partial.unlink(missing_ok=True)
            raise
    _sync_folder(path.parent)


def _remove_leftover(partial: Path) -> None:
    """Remove what a killed backup of ours left: never written into, as others may hold it open."""
    try:
        # Waits for nobody, should it be a pipe.
        descriptor = os.open(partial, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _in_the_way(partial) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise _in_the_way(partial)
        _lock(descriptor, partial)
        partial.unlink()
    finally:
        os.close(descriptor)


def _lock(descriptor: int, partial: Path) -> None:
    """Keep other backups away. Raises :class:`Refused` when one was quicker."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), partial.lstat()):
            return
    except (BlockingIOError, FileNotFoundError) as error:
        raise _another(partial) from error
    raise _another(partial)


def _another(partial: Path) -> Refused:
    return Refused(f"Another backup is writing {partial}.")


def _in_the_way(partial: Path) -> Refused:
    return Refused(f"{partial} is in the way, and no backup of this user left it: remove it.")


@contextlib.contextmanager
def standard_output() -> Iterator[IO[bytes]]:
    """For `backup -`; never onto a terminal."""
    if sys.stdout.isatty():
        raise Refused("A backup is not written to a terminal: redirect the output.")
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except OSError:
        # What is still buffered would be written, and complained of, once more at the end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o600 << 16
    return member


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
