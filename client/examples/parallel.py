"""Nodes side by side: in threads and tasks by themselves, in other processes by explicit context."""

import asyncio
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from flowwatch_client import attach, current, node, workflow


@node
def fetch(page):
    return {"page": page, "orders": [page * 10 + each for each in range(3)]}


@node
async def price(order):
    await asyncio.sleep(0.01)
    return {"order": order, "total": order * 1.19}


@node
def render(order):
    return f"<invoice>{order}</invoice>"


def render_elsewhere(context, order):
    with attach(context):
        return render(order)


@workflow("parallel")
async def parallel():
    with ThreadPoolExecutor(4) as threads:
        pages = list(threads.map(fetch, range(3)))
    orders = [order for page in pages for order in page["orders"]]
    priced = await asyncio.gather(*(price(order) for order in orders))
    with ProcessPoolExecutor(2) as processes:
        waiting = [processes.submit(render_elsewhere, current(), each) for each in priced[:4]]
        return [each.result() for each in waiting]


if __name__ == "__main__":
    print(len(asyncio.run(parallel())), "invoices")
