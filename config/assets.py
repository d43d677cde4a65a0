"""Static files as the web serves them: hashed, compressed, unchanging."""

import hashlib
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

MARK = ".collected-from"


def collect_static_files() -> None:
    """Collect when the sources changed since the last time; a second start must be quick."""
    mark = Path(settings.STATIC_ROOT) / MARK
    fingerprint = _fingerprint()
    if mark.exists() and mark.read_text() == fingerprint:
        return
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    mark.write_text(fingerprint)


def _fingerprint() -> str:
    """Changes with the name, size or time of any source file."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            status = Path(storage.path(name)).stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
