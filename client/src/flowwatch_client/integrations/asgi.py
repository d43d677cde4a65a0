"""Each request of an ASGI application (FastAPI, Starlette, any other) as one execution.

    app.add_middleware(FlowwatchMiddleware, exclude=["/health"])

What the application receives and sends passes as it is; websockets and lifespan are left alone.
"""

from __future__ import annotations

import fnmatch
import functools
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from flowwatch_client.capture.execution import Execution
from flowwatch_client.capture.workflow import start_workflow

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_BYTES = 16 * 1024
_DEEPEST_MOUNT = 8


class FlowwatchMiddleware:
    """Makes an execution of each request whose route is recorded; its workflow is `POST /orders/{id}`.

    The trigger has method, path, query and the body's first `body_bytes`; an answer of 500 and more,
    or an exception, is a failure. `only` and `exclude` are patterns of routes (`/admin/*`). `workflow`
    says a request's workflow id from its scope instead, None leaves it out. What the application has
    no route for is not recorded. `options` go to the workflow (`tags`, `sample`, `values`, …).
    """

    def __init__(
        self,
        app: App,
        *,
        only: Iterable[str] = ("*",),
        exclude: Iterable[str] = (),
        workflow: Callable[[Scope], str | None] | None = None,
        body_bytes: int = BODY_BYTES,
        **options: Any,
    ) -> None:
        self.app = app
        self._only = tuple(only)
        self._exclude = tuple(exclude)
        self._workflow = workflow or self._of_route
        self._body_bytes = body_bytes
        self._options = {"trigger": "http", **options}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        workflow_id = self._id_of(scope) if scope["type"] == "http" else None
        if workflow_id is None:
            await self.app(scope, receive, send)
            return
        execution = start_workflow(workflow_id, trigger_data=_request(scope), **self._options)
        watched = _Watched(execution, scope, receive, send, self._body_bytes)
        with execution:
            await self.app(scope, watched.receive, watched.send)
            watched.end()

    def _id_of(self, scope: Scope) -> str | None:
        try:
            return self._workflow(scope)
        except Exception:  # what isn't understood is not recorded, and the request goes on
            return None

    def _of_route(self, scope: Scope) -> str | None:
        route = _route(scope)
        if route is None or not _matches(route, self._only) or _matches(route, self._exclude):
            return None
        return f"{scope['method']} {route}"


class _Watched:
    """Sees what one request receives and sends."""

    def __init__(
        self, execution: Execution, scope: Scope, receive: Receive, send: Send, most: int
    ) -> None:
        self._execution = execution
        self._scope = scope
        self._receive = receive
        self._send = send
        self._most = most
        self._body = bytearray()
        self._received = 0
        self._status: int | None = None
        self._sent = 0

    async def receive(self) -> Message:
        message = await self._receive()
        try:
            self._see_received(message)
        except Exception as error:  # recording never changes an answer
            self._execution.complain("read a request", error)
        return message

    async def send(self, message: Message) -> None:
        try:
            self._see_sent(message)
        except Exception as error:  # recording never changes an answer
            self._execution.complain("read an answer", error)
        await self._send(message)

    def _see_received(self, message: Message) -> None:
        if message["type"] == "http.request":
            body = message.get("body") or b""
            self._received += len(body)
            self._body += body[: max(0, self._most - len(self._body))]
            if not message.get("more_body"):
                self._tell_body()

    def _see_sent(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message.get("status")
        elif message["type"] == "http.response.body":
            self._sent += len(message.get("body") or b"")

    def end(self) -> None:
        """The application is done with the request and raised nothing."""
        self._execution.set_result({"status": self._status, "bytes": self._sent})
        if self._status is not None and self._status >= 500:
            self._execution.finish(error=ServerError(f"The answer was {self._status}."))

    def _tell_body(self) -> None:
        """The whole body has come; the execution's end writes it."""
        if self._received:
            self._execution.set_trigger_data({**_request(self._scope), "body": self._told_body()})

    def _told_body(self) -> Any:
        kind = _header(self._scope, b"content-type")
        body = bytes(self._body)
        if self._received > len(body):
            text = body.decode("utf-8", "ignore")
            return {"__truncated__": {"bytes": self._received, "text": text}}
        if "json" in kind:
            try:
                return json.loads(body)
            except (ValueError, RecursionError):
                pass
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return body
        return dict(parse_qsl(text)) if "x-www-form-urlencoded" in kind else text


class ServerError(Exception):
    """A request was answered with a status of 500 or more."""


def _request(scope: Scope) -> dict[str, Any]:
    query = scope.get("query_string", b"").decode("latin-1")
    return {
        "method": scope["method"],
        "path": scope["path"],
        "query": dict(parse_qsl(query, keep_blank_values=True)),
    }


def _header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope.get("headers", ()):
        if name.lower() == wanted:
            return str(value.decode("latin-1")).lower()
    return ""


def _matches(route: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(route, pattern) for pattern in patterns)


def _route(scope: Scope) -> str | None:
    """The route's pattern as it is written; where nobody tells it, the path without numbers and ids."""
    routes = getattr(scope.get("app"), "routes", None)
    if routes is None:
        return _generic(scope["path"])
    return _find(routes, dict(scope), 0)


def _find(routes: Iterable[Any], scope: dict[str, Any], depth: int) -> str | None:
    """As Starlette looks for it: the first route that matches in full, into what is mounted."""
    for route in routes:
        match, child = route.matches(dict(scope))
        if match.name != "FULL":
            continue
        if not hasattr(route, "path"):
            return _included(route, scope)
        inner = getattr(route, "routes", None)
        if not inner or depth >= _DEEPEST_MOUNT:
            return str(route.path)
        below = _find(inner, {**scope, **child}, depth + 1)
        if below is not None:
            return f"{route.path.rstrip('/')}{below}"
    return None


def _included(router: Any, scope: Mapping[str, Any]) -> str:
    """The pattern within a router that FastAPI includes: newer versions keep it as one route."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    waiting = [router]
    while waiting:
        for each in getattr(waiting.pop(0), "effective_candidates", list)():
            pattern = getattr(each, "path", None)
            methods = getattr(each, "methods", None) or (scope["method"],)
            if pattern is None:
                waiting.append(each)
            elif scope["method"] in methods and _as_pattern(pattern).fullmatch(path):
                return str(pattern)
    return _generic(path)


@functools.lru_cache(maxsize=1024)
def _as_pattern(path: str) -> re.Pattern[str]:
    """`/orders/{id}` and `/files/{name:path}` as regular expressions."""
    parts = re.split(r"(\{[^}]*\})", path)
    return re.compile(
        "".join(
            (".*" if part.endswith(":path}") else "[^/]+")
            if part.startswith("{")
            else re.escape(part)
            for part in parts
        )
    )


def _generic(path: str) -> str:
    """`/orders/4711` as `/orders/{}`: one workflow for all of them."""
    return "/".join("{}" if _ID.search(part) else part for part in path.split("/"))


_ID = re.compile(r"\d{2}|^\d+$|.{40}")
