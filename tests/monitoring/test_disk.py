"""A disk that fills up: people are warned, senders refused in time, and nobody has to lift a hand after."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import NamedTuple

import pytest
from django.test import Client
from pytest_django import Settings

from monitoring import disk
from tests.config.test_telemetry import TOKEN, read
from tests.monitoring.api.conftest import Api, api, rival, tenant  # noqa: F401 - fixtures
from tests.tenants.factories import make_person

MEGABYTE = 1024 * 1024


class FileSystem(NamedTuple):
    """What `os.statvfs` says of 1,000 blocks of a megabyte, 100 of which are kept for root."""

    f_frsize: int
    f_blocks: int
    f_bfree: int
    f_bavail: int


@pytest.fixture
def used(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Percent that are used, by the folder's name: change them."""
    folders = {"data": 50}
    settings.DATABASE_FOLDERS = (Path("/data"),)

    def statvfs(folder: Path) -> FileSystem:
        if folder.name not in folders:
            raise PermissionError(folder)
        free = 1_000 - 10 * folders[folder.name]
        return FileSystem(MEGABYTE, 1_100, free + 100, free)

    monkeypatch.setattr(os, "statvfs", statvfs)
    return folders


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(make_person(is_staff=True))
    return client


def state() -> str | None:
    found = disk.database_disk()
    return found.state if found else None


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(0, "ok"), (84, "ok"), (85, "nearly full"), (94, "nearly full"), (95, "full"), (100, "full")],
)
def test_what_is_kept_for_root_counts_neither_as_used_nor_as_free(
    used: dict[str, int], percent: int, expected: str
) -> None:
    used["data"] = percent
    found = disk.database_disk()
    assert found is not None
    assert (found.percent, found.state) == (percent, expected)


def test_the_fuller_of_two_disks_decides(used: dict[str, int], settings: Settings) -> None:
    settings.DATABASE_FOLDERS = (Path("/data"), Path("/log"))
    used["log"] = 99
    found = disk.database_disk()
    assert found is not None
    assert found.folder == Path("/log")


def test_a_smaller_disk_that_is_full_decides_beside_a_large_one_with_room(
    used: dict[str, int], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATABASE_FOLDERS = (Path("/data"), Path("/log"))
    terabytes = FileSystem(MEGABYTE, 4_000 * 1024, 80 * 1024, 80 * 1024)  # 98 %, 80 GB free
    small = os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda at: terabytes if at.name == "data" else small(at))
    states = {}
    for percent in (50, 90, 96):
        used["log"] = percent
        states[percent] = state()
    assert states == {50: "ok", 90: "nearly full", 96: "full"}


def test_of_a_large_disk_a_part_is_enough(settings: Settings, tmp_path: Path) -> None:
    large = disk.Disk(tmp_path, 2_000 * 1024**3, 40 * 1024**3)
    assert large.state == "ok"
    assert disk.Disk(tmp_path, 2_000 * 1024**3, 19 * 1024**3).state == "full"


def test_a_real_folder_has_a_disk(settings: Settings, tmp_path: Path) -> None:
    settings.DATABASE_FOLDERS = (tmp_path,)
    found = disk.database_disk()
    assert found is not None
    assert 0 < found.free_bytes < found.size_bytes


def test_nothing_is_known_of_another_servers_disk(settings: Settings) -> None:
    settings.DATABASE_FOLDERS = ()
    assert state() is None
    disk.demand_room()


def test_the_log_is_told_of_each_change_once(
    used: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    watch = disk.Watch()
    with caplog.at_level(logging.INFO, "monitoring.disk"):
        for percent in (50, 86, 87, 96, 96, 90, 50):
            used["data"] = percent
            watch.look()
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("WARNING", "the database's disk is nearly full"),
        ("ERROR", "the database's disk is full"),
        ("WARNING", "the database's disk is nearly full"),
        ("INFO", "the database's disk is ok"),
    ]


def test_the_log_is_told_once_of_a_folder_that_cannot_be_looked_at(
    used: dict[str, int], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DATABASE_FOLDERS = (Path("/data"), Path("/closed"))
    watch = disk.Watch()
    for _ in range(3):
        watch.look()
    assert state() == "ok", "the other one is watched"
    used["closed"] = 50
    watch.look()
    del used["closed"]
    watch.look()
    assert [(each.levelname, each.__dict__["folder"]) for each in caplog.records] == [
        ("ERROR", "/closed"),
        ("ERROR", "/closed"),
    ]


MESSAGE = {"workflowId": "w", "status": "success"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "content_type"),
    [
        ("POST", "/api/executions", "application/json"),
        ("POST", "/api/workflows/w/executions", "application/json"),
        ("POST", "/api/n8n/error-workflow", "application/json"),
        ("POST", "/api/executions/batch", "application/x-ndjson"),
        ("POST", "/api/heartbeats/w", "text/plain"),
        ("PUT", "/api/workflows/w/definition", "application/json"),
    ],
)
def test_senders_are_refused_before_their_body_is_read_and_pages_go_on(
    api: Api,  # noqa: F811
    used: dict[str, int],
    method: str,
    path: str,
    content_type: str,
) -> None:
    used["data"] = 95
    refused = api.send(method, path, b"not even read", content_type=content_type)
    assert refused.status_code == 503
    assert int(refused["Retry-After"]) == disk.RETRY_AFTER_SECONDS
    assert "95 % full" in refused.json()["detail"]
    assert api.get("/api/executions")["data"] == []
    used["data"] = 94
    assert api.post("/api/executions", MESSAGE).status_code == 201


@pytest.mark.django_db
def test_operators_see_it(operator: Client, used: dict[str, int], settings: Settings) -> None:
    settings.METRICS_TOKEN = TOKEN
    assert "50 % full" in operator.get("/status/").content.decode()
    used["data"] = 96
    assert "what senders push is refused" in operator.get("/status/").content.decode()
    told = operator.get("/health/detailed").json()["disk"]
    assert told == {
        "state": "full",
        "used_percent": 96.0,
        "free_bytes": 40 * MEGABYTE,
        "size_bytes": 1_000 * MEGABYTE,
    }
    assert read(operator)["flowwatch_disk_free_bytes",] == 40 * MEGABYTE
    settings.DATABASE_FOLDERS = ()
    assert "not watched" in operator.get("/status/").content.decode()
    assert operator.get("/health/detailed").json()["disk"] is None
    assert ("flowwatch_disk_free_bytes",) not in read(operator)
