"""The version of this library, as it was installed."""

from __future__ import annotations

from importlib import metadata

try:
    VERSION = metadata.version("flowwatch-client")
except metadata.PackageNotFoundError:  # run from the sources
    VERSION = "0+source"
AGENT = f"flowwatch-client/{VERSION}"
"""How this library names itself to servers."""
