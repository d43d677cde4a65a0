"""Each request as an execution: `uvicorn web:app`. Here the application is asked once, without a server."""

import asyncio
import json

from flowwatch_client import FlowwatchMiddleware, node


@node
def price(order):
    return {"order": order["order"], "total": 129.9}


async def application(scope, receive, send):
    """Any ASGI application; with FastAPI: `app.add_middleware(FlowwatchMiddleware)`."""
    message = await receive()
    body = json.dumps(price(json.loads(message["body"]))).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


app = FlowwatchMiddleware(application, workflow=lambda scope: "price orders", exclude=["/health"])


async def ask_once():
    async def receive():
        return {"type": "http.request", "body": b'{"order": 4711}', "more_body": False}

    async def send(message):
        if message["type"] == "http.response.body":
            print(message["body"].decode())

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/orders",
        "headers": [],
        "query_string": b"",
    }
    await app(scope, receive, send)


if __name__ == "__main__":
    asyncio.run(ask_once())
