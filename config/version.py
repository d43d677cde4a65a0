"""Which Flowwatch this is."""

import importlib.metadata
import tomllib
from functools import cache

from config.home import SOURCE_ROOT, is_checkout


@cache
def version() -> str:
    """The version of this code, for example `0.1.0`."""
    if is_checkout():
        project = tomllib.loads((SOURCE_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["version"])
    return importlib.metadata.version("flowwatch")
