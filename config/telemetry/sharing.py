"""Where the web processes keep the numbers that `/metrics` adds up.

prometheus_client looks at the variable when it is imported, so this module must not import it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_counts() -> Iterator[None]:
    """A folder for the processes that are started meanwhile; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="flowwatch-metrics-") as folder:
        os.environ[FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER]
