"""The data folder of one installation: where it lies and the secrets it keeps.

Two checkouts never share one: an ordinary user's lies inside the checkout, root's in
``/var/lib/flowwatch`` under a hash of the checkout's real path (PostgreSQL refuses to run as root
and its own system user can't enter a home directory).
"""

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE_ROOT = Path(__file__).resolve().parent.parent
# Templates and static files of an installed package (pyproject.toml): among our own modules, as beside
# them, in site-packages, another package's folder may bear the same name.
SHIPPED = Path(__file__).resolve().parent / "shipped"
SYSTEM_FOLDER = Path("/var/lib/flowwatch")


@dataclass(frozen=True, slots=True)
class Home:
    """One data folder. ``run_as_root`` says whether PostgreSQL needs a system user of its own."""

    path: Path
    run_as_root: bool

    def ensure(self) -> None:
        """Make the folder; root's can be passed through (not listed) by the database's user."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o711 if self.run_as_root else 0o700)

    def secret(self, name: str) -> str:
        """The random text kept in file ``name`` (0600), made on first use; two may race for it."""
        file = self.path / name
        if not file.exists():
            self.ensure()
            publish(file, secrets.token_urlsafe(48))
        return file.read_text(encoding="utf-8").strip()


def home_from(environment: Mapping[str, str]) -> Home:
    """The data folder that ``FLOWWATCH_DATA`` names, else the one that belongs to this code."""
    run_as_root = os.geteuid() == 0
    named = environment.get("FLOWWATCH_DATA")
    if named:
        return Home(Path(named).expanduser().resolve(), run_as_root)
    return Home(_default_path(environment, run_as_root), run_as_root)


def is_checkout() -> bool:
    """Whether this code runs from a working copy rather than from an installed package."""
    return not SHIPPED.is_dir()


def resources() -> Path:
    """The folder with ``templates`` and ``static``."""
    return SOURCE_ROOT if is_checkout() else SHIPPED


def publish(file: Path, text: str) -> None:
    """Write a private file so that nobody ever sees it empty, and the first of two writers wins."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as writer:
        writer.write(text + "\n")
        writer.flush()
        os.fsync(writer.fileno())
    try:
        os.link(draft, file)
    except FileExistsError:
        pass  # another process was first; its secret counts
    finally:
        draft.unlink()


def _default_path(environment: Mapping[str, str], run_as_root: bool) -> Path:
    if run_as_root:
        return SYSTEM_FOLDER / (_checkout_key() if is_checkout() else "default")
    if is_checkout():
        return SOURCE_ROOT / ".flowwatch"
    data = environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "flowwatch" / "default"


def _checkout_key() -> str:
    return hashlib.sha256(os.fsencode(SOURCE_ROOT)).hexdigest()[:16]
