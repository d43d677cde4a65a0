"""The API over a real server: paths as they travel, bodies that lie, bombs, many at once."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.config.trees import Tree

pytestmark = pytest.mark.processes

MB = 1024 * 1024
PLAIN = {"workflowId": "w", "status": "success"}


class Server:
    """A running product and a client with a token."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        tree.command("create_tenant", "Acme", "--slug", "acme")
        made = tree.command("create_token", "acme", "--scopes", "ingest,read,write")
        self.token = made.stdout.strip()
        assert self.token.startswith("fw_"), made.stderr
        self.client = httpx.Client(
            base_url=tree.url,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=60,
        )

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, content=content, headers=sent)

    def raw(self, head: str, body: bytes = b"") -> bytes:
        """What the server answers to these bytes, until it closes or says nothing for 8 s."""
        lines = f"{head}\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
        with socket.create_connection(("127.0.0.1", self.tree.port), timeout=8) as connection:
            connection.sendall(lines.encode() + body)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            try:
                while piece := connection.recv(65536):
                    answer += piece
            except TimeoutError:
                pass
            return answer

    def most_memory(self) -> int:
        """The highest resident size that any web process has had, in bytes."""
        sizes = []
        for pid in self.tree.pids("config.web"):
            status = Path(f"/proc/{pid}/status").read_text()
            [line] = [each for each in status.splitlines() if each.startswith("VmHWM")]
            sizes.append(int(line.split()[1]) * 1024)
        return max(sizes)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    tree = Tree()
    try:
        tree.start_and_wait()
        yield Server(tree)
    finally:
        if tree.process is not None:
            tree.interrupt()
        tree.throw_away()


def test_ids_travel_encoded(server: Server) -> None:
    for text in ("a%2Fb", "executions", "x%2Fexecutions", "%C3%BC%20%3F%23", "a%252Fb"):
        path = f"/api/workflows/{text}/executions"
        made = server.post(path, {"status": "success"})
        assert made.status_code == 201, made.text
        rows = server.client.get(path).json()["data"]
        assert [row["id"] for row in rows] == [made.json()["id"]]
        assert httpx.URL(f"http://x/{text}").path == f"/{rows[0]['workflow_id']}"


def test_a_body_in_chunks_is_read_whole(server: Server) -> None:
    answer = server.client.post(
        "/api/executions/batch",
        content=(json.dumps(PLAIN).encode() + b"\n" for _ in range(50)),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert answer.json()["summary"]["created"] == 50


def test_a_body_shorter_than_it_says_stores_nothing(server: Server) -> None:
    before = server.client.get("/api/executions").json()["pagination"]["total"]
    body = json.dumps(PLAIN).encode()
    answer = server.raw(
        "POST /api/executions HTTP/1.1",
        b"Content-Type: application/json\r\nContent-Length: 500\r\n\r\n" + body,
    )
    assert b" 20" not in answer[:15]
    assert server.client.get("/api/executions").json()["pagination"]["total"] == before


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: -5\r\n\r\n",
        b"Content-Length: many\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"Transfer-Encoding: nonsense\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n{}\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nXYZ\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_lengths_that_make_no_sense_are_refused(server: Server, head: bytes) -> None:
    answer = server.raw(
        "POST /api/executions HTTP/1.1", b"Content-Type: application/json\r\n" + head
    )
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert server.client.get("/api/limits").status_code == 200


def test_more_bytes_than_a_batch_may_have_are_413(server: Server) -> None:
    answer = server.raw(
        "POST /api/executions/batch HTTP/1.1",
        b"Content-Type: application/json\r\nContent-Length: 70000000\r\n\r\n",
    )
    assert not answer or b" 413 " in answer[:20] or b" 400 " in answer[:20]
    assert server.post("/api/executions", b" " * (6 * MB)).status_code == 413


def test_bombs_and_large_batches_leave_memory_flat(server: Server) -> None:
    message = PLAIN | {"trigger": {"data": "x" * 6_000}}
    lines = b"".join(json.dumps(message | {"id": f"b{n}"}).encode() + b"\n" for n in range(2_000))
    ndjson = {"Content_Type": "application/x-ndjson"}
    assert server.post("/api/executions/batch", lines, **ndjson).status_code == 200
    before = server.most_memory()
    bomb = gzip.compress(gzip.compress(b"\n" * (1024 * MB), 1))
    bombs = [
        gzip.decompress(bomb),
        gzip.compress(b"[" + b" " * (500 * MB), 1),
        gzip.compress(b'{"a": "' + b"x" * (500 * MB), 1),
    ]
    for body in bombs:
        for kind in ("application/x-ndjson", "application/json"):
            answer = server.post(
                "/api/executions/batch", body, Content_Encoding="gzip", Content_Type=kind
            )
            assert answer.status_code in (400, 413), answer.text
    large = b"".join(json.dumps(message | {"id": f"l{n}"}).encode() + b"\n" for n in range(10_000))
    assert len(large) > 60 * 1_000_000
    packed = gzip.compress(large, 1)
    answer = server.post("/api/executions/batch", packed, Content_Encoding="gzip", **ndjson)
    assert answer.json()["summary"]["created"] == 10_000
    assert server.most_memory() - before <= 64 * MB


def test_many_at_once_with_one_id_or_key_make_one_execution(server: Server) -> None:
    with ThreadPoolExecutor(16) as pool:
        by_id = [
            pool.submit(server.post, "/api/executions", PLAIN | {"id": "same"}) for _ in range(48)
        ]
        by_key = [
            pool.submit(
                server.post,
                "/api/workflows/w/executions",
                {"status": "success"},
                Idempotency_Key="same key",
            )
            for _ in range(48)
        ]
    for sent in (by_id, by_key):
        answers = [each.result() for each in sent]
        assert {each.status_code for each in answers} == {200, 201}
        assert sum(each.json()["created"] for each in answers) == 1
        assert len({each.json()["id"] for each in answers}) == 1


def test_the_page_is_there_for_everybody(server: Server) -> None:
    answer = httpx.get(f"{server.tree.url}/api/docs")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
