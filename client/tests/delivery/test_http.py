"""One request: bounded in time and size, to nobody but the server that was set."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import trustme

from flowwatch_client.delivery import http
from flowwatch_client.delivery.http import Server, Unanswered
from receivers import Call, Handler, receiving

TOKEN = "fw_abc_very-secret"


@contextlib.contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[Server]:
    """A server that does with its connections what the test wants."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                serve(client)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}", TOKEN)
    finally:
        # Closing alone does not wake the thread that accepts.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def post(server: Server) -> http.Answer:
    return server.post("/api/executions/batch", b"x" * 1000, {})


def answer_in_pieces(head: bytes, piece: bytes, seconds: float) -> Callable[[socket.socket], None]:
    def serve(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(head)
        while True:
            client.sendall(piece)
            time.sleep(seconds)

    return serve


@pytest.mark.parametrize(
    "head",
    [b"", b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"],
    ids=["status", "headers", "body"],
)
def test_an_answer_that_drips_ends_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(http, "TOTAL_SECONDS", 0.5)
    began = time.monotonic()
    with serving(answer_in_pieces(head, b"x", 0.05)) as server, pytest.raises(Unanswered) as raised:
        post(server)
    assert str(raised.value) == "no answer in time"
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX-Long: "], ids=["status", "headers"])
def test_a_proxy_whose_tunnel_drips_ends_at_the_deadline(
    monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(http, "TOTAL_SECONDS", 0.5)
    began = time.monotonic()
    with serving(answer_in_pieces(head, b"x", 0.05)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(Unanswered) as raised:
            Server("https://flowwatch.invalid", TOKEN).get("/api/limits")
    assert str(raised.value) == "no answer in time"
    assert time.monotonic() - began < 3


def test_silence_ends_before_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SILENCE_SECONDS", 0.3)
    began = time.monotonic()
    with serving(lambda client: time.sleep(1)) as server, pytest.raises(Unanswered):
        post(server)
    assert time.monotonic() - began < 3


def test_a_server_that_reads_nothing_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TOTAL_SECONDS", 0.5)
    began = time.monotonic()
    with (
        serving(lambda client: time.sleep(1.5)) as server,
        pytest.raises(Unanswered, match="in time"),
    ):
        server.post("/", bytes(50_000_000), {})
    assert time.monotonic() - began < 5


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with (
        serving(answer_in_pieces(head, bytes(1_000_000), 0)) as server,
        pytest.raises(Unanswered, match="longer than any"),
    ):
        post(server)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    ],
    ids=["nothing", "ssh", "no status", "cut", "cut chunk", "no chunk", "headers"],
)
def test_what_is_no_whole_answer_is_none(answer: bytes) -> None:
    def serve(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(answer)

    with serving(serve) as server, pytest.raises(Unanswered):
        post(server)


def test_redirects_are_not_followed() -> None:
    def redirect(call: Call, handler: Handler) -> None:
        handler.answer(307, b"", {"Location": "/elsewhere"})

    with receiving(redirect) as receiver:
        assert post(Server(receiver.url, TOKEN)).status == 307
        assert [call.path for call in receiver.calls] == ["/api/executions/batch"]


@pytest.mark.parametrize("url", ["http://", "http://127.0.0.1:99999", "http://[::1", "http://a b/"])
def test_an_address_that_is_none_is_said(url: str) -> None:
    with pytest.raises(Unanswered):
        post(Server(url, TOKEN))


@pytest.mark.parametrize("token", ["fw_ä€_1", "fw_a\nb"])
def test_a_token_that_no_header_takes_is_not_told(token: str) -> None:
    with receiving() as receiver, pytest.raises(Unanswered) as raised:
        post(Server(receiver.url, token))
    assert "fw_" not in str(raised.value)
    assert token not in repr(Server(receiver.url, token))


def test_a_prefix_in_the_address_is_kept() -> None:
    with receiving() as receiver:
        Server(f"{receiver.url}/flowwatch", TOKEN).get("/api/limits")
        assert receiver.calls[0].path == "/flowwatch/api/limits"
        assert receiver.calls[0].headers["Authorization"] == f"Bearer {TOKEN}"


# --- TLS and proxies ----------------------------------------------------------------------------------


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@contextlib.contextmanager
def tls_server(authority: trustme.CA, name: str) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    with receiving(socket_wrapper=context) as receiver:
        yield receiver.server_port


def test_a_certificate_of_nobody_known_is_refused(authority: trustme.CA) -> None:
    with (
        tls_server(authority, "localhost") as port,
        pytest.raises(Unanswered, match="certificate is not trusted"),
    ):
        post(Server(f"https://localhost:{port}", TOKEN))


def test_a_certificate_of_another_host_is_refused(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: str
) -> None:
    with authority.cert_pem.tempfile() as trusted:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        with (
            tls_server(authority, "another.example") as port,
            pytest.raises(Unanswered, match="certificate is not trusted"),
        ):
            post(Server(f"https://localhost:{port}", TOKEN))


def test_a_trusted_certificate_is_accepted(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    with authority.cert_pem.tempfile() as trusted:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        with tls_server(authority, "localhost") as port:
            answer = Server(f"https://localhost:{port}", TOKEN).get("/api/limits")
    assert answer.status == 200


def test_what_is_trusted_is_read_once_until_it_fails(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ssl.SSLContext] = []
    create = ssl.create_default_context

    def count() -> ssl.SSLContext:
        made.append(create())
        return made[-1]

    monkeypatch.setattr(http.ssl, "create_default_context", count)  # type: ignore[attr-defined]
    with trustme.CA().cert_pem.tempfile() as trusted, tls_server(authority, "localhost") as port:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        server = Server(f"https://localhost:{port}", TOKEN)
        with pytest.raises(Unanswered, match="certificate is not trusted"):
            server.get("/api/limits")
        authority.cert_pem.write_to_path(trusted)
        for _ in range(3):
            assert server.get("/api/limits").status == 200
    assert len(made) == 2


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        Server("http://flowwatch.invalid", TOKEN).get("/api/limits")
        assert proxy.calls[0].path == "http://flowwatch.invalid/api/limits"


def test_a_tunnel_of_the_proxy_is_used_for_tls(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    with authority.cert_pem.tempfile() as trusted, tls_server(authority, "localhost") as port:

        def tunnel(client: socket.socket) -> None:
            asked.append(client.recv(65536))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with socket.create_connection(("127.0.0.1", port)) as server:
                back = threading.Thread(target=_pump, args=(server, client))
                back.start()
                _pump(client, server)
                back.join(5)

        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        with serving(tunnel) as proxy:
            address = proxy.url.replace("http://", "http://me:pa%20ss@")
            monkeypatch.setenv("https_proxy", address)
            assert Server(f"https://localhost:{port}", TOKEN).get("/api/limits").status == 200
    assert asked[0].startswith(f"CONNECT localhost:{port} ".encode())
    assert b"Proxy-Authorization: Basic bWU6cGEgc3M=" in asked[0]
    assert TOKEN.encode() not in asked[0]


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
