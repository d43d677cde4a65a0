"""Each answer names its request, and so does what it logs."""

from __future__ import annotations

import re

import httpx
import pytest
from django.test import RequestFactory

from tenants.errors import broken
from tenants.request_ids import answering, request_id_of
from tests.config.servers import WebServer

pytestmark = pytest.mark.django_db(transaction=True)


def test_answers_and_lines_of_the_log_name_the_request() -> None:
    with WebServer() as server:
        named = httpx.post(f"{server.url}/sign-in/", headers={"X-Request-ID": "edge-7f3a"})
        unnamed = httpx.post(f"{server.url}/sign-in/")
        refused = httpx.post(f"{server.url}/api/limits", content=bytes(8 * 1024 * 1024))
        log = server.log.read_text()
    assert named.headers["X-Request-ID"] == "edge-7f3a"
    made = unnamed.headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{16}", made)
    assert refused.status_code == 413
    assert refused.headers["X-Request-ID"] not in (made, "")
    lines = [line for line in log.splitlines() if "Forbidden (CSRF" in line]
    assert [re.findall(r'request_id="(.*)"', line) for line in lines] == [["edge-7f3a"], [made]]


@pytest.mark.parametrize("brought", [b"", b"two\nlines", b'a"b', b"x" * 129, b"caf\xc3\xa9"])
def test_an_id_that_could_forge_a_line_is_replaced(brought: bytes) -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", request_id_of([(b"x-request-id", brought)]))


def test_the_page_for_a_fault_of_ours_says_the_number(rf: RequestFactory) -> None:
    with answering("edge-7f3a"):
        page = broken(rf.get("/t/acme/"))
    assert b"<code>edge-7f3a</code>" in page.content
    assert b"<code>" not in broken(rf.get("/t/acme/")).content
