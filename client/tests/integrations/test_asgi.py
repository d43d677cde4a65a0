"""Requests of ASGI applications become executions, and pass as they are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from flowwatch_client import FlowwatchMiddleware, configure, node
from recorded import Recorded

Message = dict[str, Any]


class Route:
    """Shaped as Starlette's."""

    def __init__(self, path: str, match: str = "FULL") -> None:
        self.path = path
        self._match = match

    def matches(self, scope: Any) -> tuple[Any, dict[str, Any]]:
        return type("Match", (), {"name": self._match}), {}


class Site:
    def __init__(self, *routes: Route) -> None:
        self.routes = routes


def scope_of(path: str, **more: Any) -> dict[str, Any]:
    common = {"type": "http", "method": "POST", "path": path, "query_string": b"a=1&b="}
    return {**common, **more}


def call(app: Any, scope: dict[str, Any], *received: Message) -> list[Message]:
    """What the application sends when it receives these messages."""
    waiting, sent = list(received), []

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Sends back what it receives, piece by piece."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        message = await receive()
        with node("piece"):
            await send({"type": "http.response.body", "body": message["body"], "more_body": True})
        if not message.get("more_body"):
            break
    await send({"type": "http.response.body", "body": b""})


def test_a_request_is_an_execution_and_passes_as_it_is(recorded: Recorded) -> None:
    scope = scope_of(
        "/orders/4711",
        headers=[(b"Content-Type", b"application/json")],
        app=Site(Route("/no", "NONE"), Route("/half", "PARTIAL"), Route("/orders/{id}")),
    )
    body = [b'{"password": "hunter2-hun', b'ter2", "n": 1}']
    received = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    received[-1]["more_body"] = False
    before = repr((scope["path"], scope["headers"], scope["query_string"]))
    sent = call(FlowwatchMiddleware(echo, tags=["web"]), scope, *received)
    assert [each.get("body") for each in sent] == [None, *body, b""]
    assert repr((scope["path"], scope["headers"], scope["query_string"])) == before
    execution, nodes = recorded.one()
    assert (execution.workflow_id, execution.trigger_type) == ("POST /orders/{id}", "http")
    assert (execution.status, execution.tags) == ("success", '["web"]')
    data = json.loads(execution.trigger_data)
    assert (data["path"], data["query"]) == ("/orders/4711", {"a": "1", "b": ""})
    assert data["body"]["n"] == 1
    assert "hunter2" not in execution.trigger_data
    assert json.loads(execution.result or "") == {"status": 200, "bytes": len(b"".join(body))}
    assert [each.node_id for each in nodes] == ["piece", "piece"]


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        (b"text/plain", b"hello", "hello"),
        (b"application/json", b"{broken", "{broken"),
        (b"application/json", b"[" * 5_000, "[" * 5_000),
        (b"application/x-www-form-urlencoded", b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"image/png", b"\xff\xfe", {"__bytes__": {"bytes": 2, "begins": "//4="}}),
        (b"text/plain", b"x" * 20_000, {"__truncated__": {"bytes": 20_000, "text": "x" * 16_384}}),
    ],
)
def test_bodies_of_all_kinds(recorded: Recorded, kind: bytes, body: bytes, told: Any) -> None:
    scope = scope_of("/in", headers=[(b"content-type", kind)])
    sent = call(FlowwatchMiddleware(echo), scope, {"type": "http.request", "body": body})
    assert sent[1]["body"] == body
    execution, _ = recorded.one()
    assert json.loads(execution.trigger_data)["body"] == told


def test_failures(recorded: Recorded) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/raise":
            raise ValueError("broken")
        await send({"type": "http.response.start", "status": int(scope["path"][1:])})

    app = FlowwatchMiddleware(broken, workflow=lambda scope: "site")
    with pytest.raises(ValueError, match="broken"):
        call(app, scope_of("/raise"))
    call(app, scope_of("/503"))
    call(app, scope_of("/404"))
    told = [(each.status, each.error_message) for each, _ in recorded.executions()]
    assert told == [
        ("error", "ValueError: broken"),
        ("error", "ServerError: The answer was 503."),
        ("success", None),
    ]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
def test_what_is_no_request_passes(recorded: Recorded, kind: str) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    scope, receive, send = {"type": kind}, object(), object()
    asyncio.run(FlowwatchMiddleware(app)(scope, receive, send))  # type: ignore[arg-type]
    assert [each is one for each, one in zip(seen[0], (scope, receive, send), strict=True)] == (
        [True] * 3
    )
    assert recorded.executions() == []


def test_routes_that_are_left_out(recorded: Recorded) -> None:
    app = FlowwatchMiddleware(echo, only=["/orders*"], exclude=["*/health"])
    asked = {"type": "http.request", "body": b""}
    call(app, scope_of("/orders/1", app=Site(Route("/none", "NONE"))), asked)
    call(app, scope_of("/orders/health"), asked)
    call(app, scope_of("/other"), asked)
    call(FlowwatchMiddleware(echo, workflow=lambda scope: 1 / 0), scope_of("/x"), asked)  # type: ignore[arg-type,return-value]
    assert recorded.executions() == []
    call(app, scope_of("/orders/4711/lines"), asked)
    assert recorded.one()[0].workflow_id == "POST /orders/{}/lines"


def test_nothing_happens_when_it_is_off(recorded: Recorded) -> None:
    configure(enabled=False)
    sent = call(FlowwatchMiddleware(echo), scope_of("/x"), {"type": "http.request", "body": b"[1]"})
    assert sent[1]["body"] == b"[1]"


def test_the_patterns_of_fastapi(recorded: Recorded) -> None:
    """Where it is installed: its routers keep their routes in their own ways."""
    fastapi = pytest.importorskip("fastapi")
    app, inner, router = fastapi.FastAPI(), fastapi.FastAPI(), fastapi.APIRouter(prefix="/v1")

    async def answer(name: str) -> str:
        return name

    app.get("/orders/{name}")(answer)
    router.get("/lines/{name}")(answer)
    inner.get("/deep/{name:path}")(answer)
    app.include_router(router)
    app.mount("/inner", inner)
    app.add_middleware(FlowwatchMiddleware)
    for path in ("/orders/a", "/v1/lines/b", "/inner/deep/c/d", "/unknown"):
        scope = scope_of(path, method="GET", headers=[], root_path="", query_string=b"")
        call(app, scope, {"type": "http.request", "body": b""})
    assert [each.workflow_id for each, _ in recorded.executions()] == [
        "GET /orders/{name}",
        "GET /v1/lines/{name}",
        "GET /inner/deep/{name:path}",
    ]
