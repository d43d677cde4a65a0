"""Files with definitions: JSON of one or many workflows, or a zip of such files.

Each workflow is stored or refused on its own, whole, with a reason; nothing in a file's name is ever
used as a path. A zip is bounded before it is opened and while it is unpacked.
"""

from __future__ import annotations

import enum
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol

from django.conf import settings
from django.db import transaction

from monitoring.definitions import (
    Definition,
    InvalidDefinition,
    find_or_make_workflow,
    read_definition,
    store_definition,
)
from monitoring.models import Environment, Workflow, WorkflowVersion
from monitoring.recording.decoding import InvalidMessage, NotJson, decode
from tenants.models import User

MOST_WORKFLOWS: Final = 1_000
_MOST_REASONS: Final = 3
_PIECE: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"

_END_OF_ZIP: Final = b"PK\x05\x06"
_ZIP64: Final = b"PK\x06\x07"
_ZIP64_LENGTH: Final = 20
_LONGEST_END: Final = _ZIP64_LENGTH + 22 + 65_535
# What `zipfile` unpacks piece by piece: the others it unpacks whole, however large that becomes.
_PACKINGS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_BROKEN: Final = "The zip is broken, encrypted or packed in a way that isn't known."
_TOO_MANY: Final = f"The zip holds too many files; {MOST_WORKFLOWS:,} workflows fit in one."
_LARGEST_DIRECTORY: Final = 1024 * 1024
# A real workflow packs to a tenth; what unpacks to a thousand times its size is a bomb.
_LARGEST_RATIO: Final = 200
_RATIO_FROM: Final = 256 * 1024
_ZIP_FULL: Final = "The zip unpacks to more than {} MB; what comes after that was not looked at."
_BROKEN_ZIP: Final = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,  # what zipfile raises for a compression it lacks
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
)


class UploadedFile(Protocol):
    """What Django gives for an uploaded file."""

    name: str | None
    size: int | None
    file: IO[bytes] | None

    def read(self, size: int = ..., /) -> bytes: ...

    def seek(self, offset: int, whence: int = ..., /) -> int: ...


class Outcome(enum.Enum):
    """What became of a workflow in a file."""

    NEW = "new version"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Result:
    """One workflow of an upload, or a file without any: `reason` says why it was refused."""

    label: str
    outcome: Outcome
    workflow: Workflow | None = None
    version: int | None = None
    reason: str = ""


class Refused(ValueError):
    """A file, or a workflow in it, that can't be taken; says why."""


_Found = tuple[str, str, Any]
"""(label, name to fall back to, document or Refused)."""


def store_files(
    files: Iterable[UploadedFile], environment: Environment, *, by: User
) -> list[Result]:
    """Store the workflows of uploaded files in an environment; one result for each, in order."""
    taken: set[str] = set()
    results: list[Result] = []
    for label, stem, found in _workflows(files):
        if len(results) >= MOST_WORKFLOWS:
            reason = f"One upload takes {MOST_WORKFLOWS:,} workflows; send the rest in another one."
            results.append(Result(label, Outcome.REFUSED, reason=reason))
            break
        try:
            if isinstance(found, Refused):
                raise found
            results.append(_store(label, stem, found, environment, by, taken))
        except Refused as refused:
            results.append(Result(label, Outcome.REFUSED, reason=str(refused)))
    return results


def count(results: Sequence[Result]) -> dict[Outcome, int]:
    """How many results there are of each outcome."""
    found = Counter(result.outcome for result in results)
    return {outcome: found[outcome] for outcome in Outcome}


def _store(
    label: str, stem: str, document: Any, environment: Environment, by: User, taken: set[str]
) -> Result:
    definition = _read(document)
    name = definition.graph.name.strip()[: settings.LIMITS.text] or stem
    external_id = _id_of(document) or name
    if external_id in taken:
        raise Refused(f"Another workflow of this upload has the id “{external_id}” already.")
    taken.add(external_id)
    with transaction.atomic():
        workflow = find_or_make_workflow(environment, external_id, name)
        version, is_new = store_definition(
            workflow, definition, source=WorkflowVersion.Source.UPLOAD, by=by
        )
    outcome = Outcome.NEW if is_new else Outcome.UNCHANGED
    return Result(label, outcome, workflow, version.number)


def _read(document: Any) -> Definition:
    try:
        return read_definition(document)
    except InvalidDefinition as error:
        said = [f"{loc}: {msg}" if loc else msg for loc, msg in error.errors[:_MOST_REASONS]]
        raise Refused(f"It is no workflow: {'; '.join(said)}.") from None


def _id_of(document: dict[str, Any]) -> str:
    """The provider's id, "" without one; old exports have numbers."""
    found = document.get("id")
    if isinstance(found, bool) or not isinstance(found, str | int):
        return ""
    text = str(found)
    if len(text) > settings.LIMITS.text:
        raise Refused(f"Its id is longer than {settings.LIMITS.text} characters.")
    return text


# --- from files to documents ----------------------------------------------------------------------


def _workflows(files: Iterable[UploadedFile]) -> Iterator[_Found]:
    """The documents in all files; a file that can't be read gives its reason instead."""
    for file in files:
        name = _printable(file.name or "file")
        try:
            for label, content in _contents(file, name):
                yield from _documents(label, content)
        except Refused as refused:
            yield name, "", refused


def _contents(file: UploadedFile, name: str) -> Iterator[tuple[str, bytes]]:
    """(label, bytes) of a file, or of each file in a zip."""
    head = file.read(4)
    file.seek(0)
    if head[:2] == b"PK":
        yield from _unzipped(file, name)
    elif (file.size or 0) > settings.LIMITS.body_bytes:
        raise Refused(_too_large())
    else:
        yield name, file.read(settings.LIMITS.body_bytes)


def _documents(label: str, content: bytes | Refused) -> Iterator[_Found]:
    stem = _stem(label)
    try:
        if isinstance(content, Refused):
            raise content
        document = decode(content.removeprefix(_BOM))
    except (NotJson, InvalidMessage) as error:
        said = str(error).removeprefix("The body is not JSON in UTF-8: ")
        yield label, stem, Refused(f"It is not JSON in UTF-8: {said.rstrip('.')}.")
        return
    except Refused as refused:
        yield label, stem, refused
        return
    many = _many(document)
    for number, each in enumerate(many, start=1):
        place = f"{label} ({number} of {len(many)})" if len(many) > 1 else label
        yield place, f"{stem} {number}" if len(many) > 1 else stem, each


def _many(document: Any) -> list[Any]:
    """The workflows of a file: one, a list (n8n's export of all), or an answer of n8n's API."""
    if isinstance(document, dict) and "nodes" not in document:
        if isinstance(document.get("data"), list):
            document = document["data"]
        elif isinstance(document.get("workflow"), dict):
            document = document["workflow"]
    if isinstance(document, list) and document:
        return document[: MOST_WORKFLOWS + 1]
    return [document]


# --- zip ------------------------------------------------------------------------------------------


def _unzipped(file: UploadedFile, name: str) -> Iterator[tuple[str, Any]]:
    """(label, bytes or Refused) of the JSON files in a zip."""
    _check_directory(file)
    budget = _Budget(settings.LIMITS.batch_bytes)
    found = 0
    try:
        with zipfile.ZipFile(_whole(file)) as archive:
            entries = archive.infolist()
            if len(entries) > 2 * MOST_WORKFLOWS:  # more than its end says
                raise Refused(_TOO_MANY)
            for entry in entries:
                if entry.is_dir() or _is_hidden(entry.filename):
                    continue
                found += 1
                label = f"{name}: {_printable(entry.filename)}"
                yield label, _entry(archive, entry, budget)
    except Refused:
        raise
    except _BROKEN_ZIP:
        raise Refused(_BROKEN) from None
    if not found:
        raise Refused("The zip holds no files.")


def _whole(file: UploadedFile) -> IO[bytes]:
    return file.file if file.file is not None else io.BytesIO(file.read())


def _check_directory(file: UploadedFile) -> None:
    """Refuse a list of contents that would be large to hold; `zipfile` reads all of it at once."""
    size = file.size or 0
    file.seek(max(0, size - _LONGEST_END))
    tail = file.read(_LONGEST_END)
    file.seek(0)
    at = tail.rfind(_END_OF_ZIP)
    if at < 0 or len(tail) < at + 22:
        raise Refused("The zip is broken: it ends too early.")
    if tail[max(0, at - _ZIP64_LENGTH) : at].startswith(_ZIP64):
        raise Refused(_TOO_MANY)  # what the end says does not count then, and small zips need none
    entries = int.from_bytes(tail[at + 10 : at + 12], "little")
    directory = int.from_bytes(tail[at + 12 : at + 16], "little")
    if entries > 2 * MOST_WORKFLOWS or directory > _LARGEST_DIRECTORY:
        raise Refused(_TOO_MANY)


@dataclass(slots=True)
class _Budget:
    """Bytes that a zip may still unpack to, those of refused files included."""

    left: int


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, budget: _Budget) -> bytes | Refused:
    """The bytes of one file, counted while they are unpacked: its own word for its size is nothing."""
    if not entry.filename.lower().endswith(".json"):
        return Refused("It is no .json file.")
    if entry.compress_type not in _PACKINGS:
        return Refused("It is packed in a way that isn't taken; pack it with “Deflate”.")
    bomb = max(_RATIO_FROM, _LARGEST_RATIO * entry.compress_size)
    pieces: list[bytes] = []
    size = 0
    with archive.open(entry) as stream:
        while piece := stream.read(min(_PIECE, budget.left + 1)):
            size += len(piece)
            budget.left -= len(piece)
            if budget.left < 0:
                budget.left = 0
                return Refused(_ZIP_FULL.format(settings.LIMITS.batch_bytes // 1024**2))
            if size > settings.LIMITS.body_bytes:
                return Refused(_too_large())
            if size > bomb:
                return Refused("It unpacks to far more than a workflow does.")
            pieces.append(piece)
    return b"".join(pieces)


def _is_hidden(path: str) -> bool:
    """Whether it is a system's own file (`__MACOSX/…`, `.DS_Store`)."""
    parts = path.replace("\\", "/").split("/")
    return parts[0] == "__MACOSX" or parts[-1].startswith(".")


def _too_large() -> str:
    return f"It is larger than {settings.LIMITS.body_bytes // 1024**2} MB."


def _printable(name: str) -> str:
    """A file's name for people; it never becomes a path."""
    text = "".join(character if character.isprintable() else "\ufffd" for character in name)
    return text if len(text) <= settings.LIMITS.text else f"…{text[1 - settings.LIMITS.text :]}"


def _stem(label: str) -> str:
    """The last part of a name, without its ending."""
    last = label.replace("\\", "/").rpartition("/")[2].rpartition(": ")[2]
    return (last[:-5] if last.lower().endswith(".json") else last)[
        : settings.LIMITS.text
    ] or "workflow"
