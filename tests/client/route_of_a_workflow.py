"""A program as requirement 002 generates it: its snippet as it stands there, and what is around it.

Only a token is added. `execute_nodes` is what the generated workflow would do; two requests are made, of
which the second fails. The route goes through FlowwatchMiddleware too, so that it is recorded twice:
by the snippet itself and by the client.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

try:
    from fastapi import FastAPI, Request
except ImportError:  # the same shape: what the snippet needs of it

    class Request:  # type: ignore[no-redef]
        def __init__(self, receive: Callable[[], Any]) -> None:
            self._receive = receive

        async def json(self) -> Any:
            return json.loads((await self._receive())["body"])

    class FastAPI:  # type: ignore[no-redef]
        def __init__(self) -> None:
            self._handlers: dict[str, Callable[[Request], Any]] = {}

        def post(self, path: str) -> Callable[[Callable[[Request], Any]], Any]:
            return lambda handler: self._handlers.setdefault(path, handler)

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            result = await self._handlers[scope["path"]](Request(receive))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": json.dumps(result).encode()})


from flowwatch_client import FlowwatchMiddleware, flush, node

ADDRESS = "http://workflow"
SNIPPET = Path(__file__).with_name("generated_workflow.txt").read_text()
TOKEN = 'headers={"Authorization": "Bearer " + os.environ["FLOWWATCH_TOKEN"]}'

app = FastAPI()


@node
async def check_order(order: dict[str, Any]) -> str:
    if order["total"] < 0:
        raise ValueError("the total is negative")
    return "fine"


async def execute_nodes(request: Any, execution_data: dict[str, Any]) -> dict[str, str]:
    told: dict[str, Any] = {"nodeId": "check", "nodeName": "Check", "nodeType": "code"}
    execution_data["nodeExecutions"].append({**told, "status": "success", "input": {"a": 1}})
    return {"checked": await check_order(execution_data["trigger"]["data"])}


def load_snippet() -> None:
    generated = SNIPPET.replace("{{workflow_id}}", "generated").replace(
        "{{workflow_name}}", "Generated"
    )
    with_token = generated.replace("httpx.AsyncClient()", f"httpx.AsyncClient({TOKEN})")
    assert with_token != generated
    names = {"app": app, "asyncio": asyncio, "traceback": traceback, "Request": Request}
    exec(compile(with_token, "generated_workflow.py", "exec"), names | globals())


async def main() -> None:
    load_snippet()
    routed = httpx.ASGITransport(app=FlowwatchMiddleware(app))
    async with httpx.AsyncClient(transport=routed, base_url=ADDRESS) as caller:
        answer = await caller.post("/api/workflow", json={"order": 4711, "total": 129.9})
        assert answer.json() == {"checked": "fine"}, answer.text
        with pytest.raises(ValueError, match="the total is negative"):
            await caller.post("/api/workflow", json={"order": 4712, "total": -1})
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert flush(30)
    print(FastAPI.__module__, os.environ["CATALYST_EDITOR_URL"], file=sys.stderr)


asyncio.run(main())
