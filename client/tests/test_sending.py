"""`send`, `retry-dead` and `doctor` against a server."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import trustme

from cli_calls import Answer, Call, caller, fill
from flowwatch_client.log import outbox
from flowwatch_client.log.log import Log
from receivers import Call as Request
from receivers import Handler, Receiver, receiving, take_all

LIMITS = {
    "limits": {"batch_bytes": 1, "batch_lines": 2},
    "executions_per_minute": None,
    "capabilities": ["encoding.gzip", "ingest.batch", "ingest.heartbeat"],
}


def flowwatch(request: Request, handler: Handler) -> None:
    """Answers as Flowwatch does."""
    if request.path == "/api/limits":
        handler.answer(200, LIMITS, {"Date": formatdate(usegmt=True)})
    elif request.body == b"[]":
        handler.answer(200, {"summary": {}, "results": []})
    else:
        take_all(request, handler)


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiving(flowwatch) as found:
        yield found


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return fill(tmp_path / "executions.db")


@pytest.fixture
def call(
    log: Log, server: Receiver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Call:
    monkeypatch.setenv("FLOWWATCH_URL", server.url)
    monkeypatch.setenv("FLOWWATCH_TOKEN", "fw_abc_secret")
    return caller(log.path, capsys)


def _states(answer: Answer) -> dict[str, str]:
    return {each["name"]: each["state"] for each in answer.json()["checks"]}


def _text(answer: Answer, name: str) -> str:
    (found,) = [each["text"] for each in answer.json()["checks"] if each["name"] == name]
    return str(found)


# --- send ---------------------------------------------------------------------------------------------


def test_what_waits_is_sent_now(call: Call, server: Receiver) -> None:
    answer = call("send")
    assert (answer.code, answer.out) == (0, "")
    assert "6 records sent, 0 waiting" in answer.err
    assert {line["id"] for each in server.calls for line in each.lines} == {
        "aaaaaaaa-1", "aaaaaaaa-2", "bbbbbbbb-1",
    }  # fmt: skip
    assert call("stats", "--json").json()["records"]["sent"] == 6
    assert "0 records sent" in call("send").err


def test_a_server_that_takes_nothing_is_given_up(call: Call, server: Receiver) -> None:
    server.reply = lambda request, handler: handler.answer(503)
    answer = call("send", "--timeout", "1")
    assert answer.code == 1
    assert "0 records sent, 6 waiting" in answer.err
    assert _states(call("doctor", "--json"))["sending"] == "warn"


def test_a_wrong_token_is_not_tried_again(call: Call, server: Receiver) -> None:
    server.reply = lambda request, handler: handler.answer(401)
    assert call("send").code == 1
    assert len(server.calls) == 1


def test_what_is_refused_is_said_and_sent_again_on_request(call: Call, server: Receiver) -> None:
    server.reply = lambda request, handler: handler.answer(
        422, {"detail": "no"}, {"Content-Type": "application/problem+json"}
    )
    answer = call("send")
    assert "6 records refused for good" in answer.err
    assert _states(call("doctor", "--json"))["dead letter"] == "warn"
    server.reply = flowwatch
    call("retry-dead")
    assert "6 records sent" in call("send").err


def test_a_server_must_be_known(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWWATCH_TOKEN")
    answer = call("send")
    assert answer.code == 1
    assert "FLOWWATCH_TOKEN" in answer.err


# --- doctor -------------------------------------------------------------------------------------------


def test_all_is_well(call: Call) -> None:
    answer = call("doctor", "--json")
    assert answer.code == 0
    assert answer.json()["ok"] is True
    assert set(_states(answer).values()) == {"ok"} or _states(answer)["waiting"] == "warn"
    assert _text(answer, "scope") == "may send executions (ingest)"
    assert "FLOWWATCH_TOKEN=fw_abc…" in _text(answer, "settings")
    assert "secret" not in answer.out


def test_people_read_lines_with_advice(call: Call, server: Receiver) -> None:
    server.reply = lambda request, handler: handler.answer(401)
    answer = call("doctor")
    assert answer.code == 1
    assert "fail  token" in answer.out
    assert "→ Make another" in answer.out
    assert "1 failure" in answer.out


def _answers(status: int, body: Any = b"", **headers: str) -> Any:
    def reply(request: Request, handler: Handler) -> None:
        handler.answer(status, body, headers)

    return reply


def _no_ingest(status: int) -> Any:
    def reply(request: Request, handler: Handler) -> None:
        if request.method == "POST":
            handler.answer(status, {"detail": "no scope"})
        else:
            flowwatch(request, handler)

    return reply


@pytest.mark.parametrize(
    ("reply", "name", "state"),
    [
        (_answers(401), "token", "fail"),
        (_answers(403, {"detail": "suspended"}), "token", "fail"),
        (_answers(403, b"[]"), "token", "fail"),
        (_answers(302, Location="https://sign-in.example"), "HTTP", "fail"),
        (_answers(200, b"<html>"), "HTTP", "fail"),
        (_answers(200, {"limits": 5, "capabilities": []}), "HTTP", "fail"),
        (_answers(500), "HTTP", "fail"),
        (_no_ingest(403), "scope", "fail"),
        (_no_ingest(503), "scope", "warn"),
        (_answers(200, {**LIMITS, "capabilities": ["encoding.gzip"]}), "abilities", "warn"),
        (_answers(200, LIMITS, Date="Thu, 01 Jan 2099 00:00:00 GMT"), "clock", "warn"),
        (_answers(200, LIMITS, Date="Thu, 01 Jan 2015 00:00:00 GMT"), "clock", "fail"),
    ],
)
def test_what_is_wrong_with_the_server_is_named(
    call: Call, server: Receiver, reply: Any, name: str, state: str
) -> None:
    server.reply = reply
    assert _states(call("doctor", "--json"))[name] == state


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://nowhere.invalid", "name"),
        ("http://127.0.0.1:9", "connection"),
        ("http://127.0.0.1:99999999", "address"),
    ],
)
def test_each_step_to_the_server_fails_by_itself(
    call: Call, monkeypatch: pytest.MonkeyPatch, url: str, name: str
) -> None:
    monkeypatch.setenv("FLOWWATCH_URL", url)
    answer = call("doctor", "--json")
    assert answer.code == 1
    assert list(_states(answer).items())[-1] == (name, "fail")


def test_a_proxy_is_named_without_its_password(
    call: Call, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url.replace("http://", "http://me:hidden@"))
    monkeypatch.setenv("FLOWWATCH_URL", "http://flowwatch.example")
    answer = call("doctor", "--json")
    assert server.url.removeprefix("http://") in _text(answer, "proxy")
    assert "hidden" not in answer.out


@pytest.fixture
def tls(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, trustme.CA]]:
    """A port that speaks TLS and answers nothing, and who has signed its certificate."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listening.accept()
                    context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"https://localhost:{listening.getsockname()[1]}"
        monkeypatch.setenv("FLOWWATCH_URL", url)
        yield url, authority
        ended.set()
        socket.create_connection(listening.getsockname()).close()
        thread.join(10)


def test_a_certificate_that_nobody_trusts(call: Call, tls: object) -> None:
    answer = call("doctor", "--json")
    assert _states(answer)["TLS"] == "fail"
    assert "not trusted" in _text(answer, "TLS")


def test_a_certificate_of_an_own_authority(
    call: Call, tls: tuple[str, trustme.CA], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls[1].cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    states = _states(call("doctor", "--json"))
    assert states["TLS"] == "ok"
    assert states["HTTP"] == "fail"


def test_a_server_without_tls(
    call: Call, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWWATCH_URL", server.url.replace("http://", "https://"))
    assert _states(call("doctor", "--json"))["TLS"] == "fail"


@pytest.mark.parametrize(
    ("missing", "state"), [("FLOWWATCH_URL", "fail"), ("FLOWWATCH_TOKEN", "fail")]
)
def test_url_and_token_belong_together(
    call: Call, monkeypatch: pytest.MonkeyPatch, missing: str, state: str
) -> None:
    monkeypatch.delenv(missing)
    assert _states(call("doctor", "--json"))["server"] == state


def test_no_server_is_all_right(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWWATCH_URL")
    monkeypatch.delenv("FLOWWATCH_TOKEN")
    answer = call("doctor", "--json")
    assert answer.code == 0
    assert _states(answer)["server"] == "ok"


def test_what_the_log_lacks_is_told(call: Call, log: Log) -> None:
    with log.connection.transaction() as connection:
        outbox.count(connection, "lost", 2)
        outbox.count(connection, "dropped_for_room", 3)
        connection.execute("DELETE FROM outbox WHERE seq = 1")
    states = _states(call("doctor", "--json"))
    assert (states["lost"], states["dropped"], states["records"]) == ("warn", "warn", "fail")


def test_a_wrong_setting_is_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWWATCH_BUFFERED", "perhaps")
    assert _states(call("doctor", "--json"))["settings"] == "fail"


def test_settings_that_record_less_are_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWWATCH_ENABLED", "no")
    assert _states(call("doctor", "--json"))["recording"] == "warn"
    monkeypatch.setenv("FLOWWATCH_ENABLED", "yes")
    monkeypatch.setenv("FLOWWATCH_BUFFERED", "yes")
    assert "kill -9" in _text(call("doctor", "--json"), "recording")


def test_a_log_that_is_none_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("words " * 1_000)
    assert _states(caller(tmp_path / "text", capsys)("doctor", "--json"))["file"] == "fail"
    assert _states(caller(tmp_path / "new" / "log", capsys)("doctor", "--json"))["file"] == "ok"
    below_a_file = tmp_path / "text" / "log"
    assert _states(caller(below_a_file, capsys)("doctor", "--json"))["folder"] == "fail"


@pytest.mark.parametrize(("free", "state"), [(10**12, "ok"), (10**8, "warn"), (10**6, "fail")])
def test_a_disk_that_fills_is_told(
    call: Call, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": free}))
    assert _states(call("doctor", "--json"))["disk"] == state
