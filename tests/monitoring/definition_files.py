"""The recorded workflow files, as JSON where they are JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "fixtures" / "n8n-workflows"
FILES = sorted(FOLDER.glob("[0-9]*.json"))


def document(path: Path) -> Any:
    """The JSON of a file, None when it is none."""
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError:
        return None


def workflows() -> list[tuple[str, dict[str, Any]]]:
    """(file, document) of every file that holds a workflow."""
    found = [(path.name, document(path)) for path in FILES]
    return [(name, each) for name, each in found if isinstance(each, dict) and "nodes" in each]
