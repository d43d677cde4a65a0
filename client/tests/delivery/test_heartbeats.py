"""Executions that run long say so, where the server understands it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowwatch_client import background as background_module
from flowwatch_client.background import Background
from flowwatch_client.delivery.heartbeats import Heartbeats
from flowwatch_client.delivery.http import Server
from flowwatch_client.log.log import Log
from flowwatch_client.log.writer import Writer
from flowwatch_client.rows import ExecutionRow
from flowwatch_client.settings import Settings
from receivers import Call, Handler, Receiver, receiving, take_all


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def beats(receiver: Receiver) -> list[str]:
    return [call.path for call in receiver.calls if call.path.endswith("/heartbeat")]


def test_each_running_execution_says_so_until_it_ends(receiver: Receiver) -> None:
    heartbeats = Heartbeats(Server(receiver.url, "fw_a_b"))
    assert heartbeats.due_in() is None
    heartbeats.started("a/b ü", 0.0)
    heartbeats.started("other", 100.0)
    assert heartbeats.due_in() == 0.0
    heartbeats.send_due()
    assert beats(receiver) == ["/api/executions/a%2Fb%20%C3%BC/heartbeat"]
    heartbeats.ended("a/b ü")
    assert heartbeats.due_in() == pytest.approx(100, abs=5)
    heartbeats.send_due()
    heartbeats.ended("other")
    heartbeats.ended("never heard of")
    assert len(beats(receiver)) == 1


@pytest.mark.parametrize("document", [{}, {"capabilities": ["ingest.batch"]}, [], b"<html>"])
def test_a_server_that_does_not_know_them_gets_none(receiver: Receiver, document: object) -> None:
    receiver.reply = lambda call, handler: handler.answer(200, document)
    heartbeats = Heartbeats(Server(receiver.url, "fw_a_b"))
    heartbeats.started("e1", 0.0)
    heartbeats.send_due()
    heartbeats.send_due()
    assert [call.path for call in receiver.calls] == ["/api/limits"]


@pytest.mark.parametrize("status", [429, 503, 404])
def test_a_server_in_trouble_is_asked_again_soon(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    receiver.reply = lambda call, handler: handler.answer(status)
    heartbeats = Heartbeats(Server(receiver.url, "fw_a_b"))
    heartbeats.started("e1", 0.0)
    heartbeats.send_due()
    assert not beats(receiver)
    receiver.reply = take_all
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    heartbeats.send_due()
    assert len(beats(receiver)) == 1


def test_a_dead_server_is_not_asked_for_each(receiver: Receiver) -> None:
    def die(call: Call, handler: Handler) -> None:
        handler.connection.close()

    heartbeats = Heartbeats(Server(receiver.url, "fw_a_b"))
    for number in range(10):
        heartbeats.started(f"e{number}", 0.0)
    heartbeats.send_due()
    assert len(beats(receiver)) == 10
    receiver.reply = die
    receiver.calls.clear()
    heartbeats.send_due()
    heartbeats.send_due()
    assert len(receiver.calls) == 1


def test_the_background_sends_them_also_between_batches(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_module, "SEND_SECONDS", 0.02)

    def take_slowly(call: Call, handler: Handler) -> None:
        if call.path.endswith("batch"):
            time.sleep(0.05)
        take_all(call, handler)

    receiver.reply = take_slowly
    monkeypatch.setattr("flowwatch_client.delivery.sender.MOST_RECORDS", 1)
    settings = Settings(url=receiver.url, token="fw_a_b", path=tmp_path / "log.db")
    log = Log(settings.path)
    writer = Writer(log)
    background = Background(log, writer, settings)
    start = "2026-11-21T20:00:00.000000+00:00"
    for number in range(40):
        writer.write(ExecutionRow(f"e{number}", "orders", "Orders", "running", start))
    background.started("e1", 0.2)
    background.wake()
    deadline = time.monotonic() + 10
    while len(beats(receiver)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(receiver.batches()) < 40
    background.ended("e1")
    background.end()
