"""A client of its own for each test, once for each way of writing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowwatch_client import configure
from recorded import Recorded


@pytest.fixture(params=["committed", "buffered"])
def buffered(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "buffered")


@pytest.fixture
def recorded(tmp_path: Path, buffered: bool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """Both ways of writing, one after the other."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "executions.db"
    configure(log=path, buffered=buffered)
    yield Recorded(path)
    configure(enabled=False)


@pytest.fixture(autouse=True)
def no_settings_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see the same whoever runs them, and however wide the terminal is."""
    for name in os.environ:
        if name.startswith("FLOWWATCH_") or name == "COLUMNS":
            monkeypatch.delenv(name)
