"""No server at all: the log is a file, and is read here as any program may read it."""

from pathlib import Path

from flowwatch_client import Log, configure, flush, node, set_keys, workflow

LOG = Path("stock.db")

configure(log=LOG)


@node(attempts=3, wait=0.1)
def fetch(shop):
    return {"shop": shop, "items": [{"sku": "A-1", "stock": 7}]}


@workflow("stock sync", tags=["nightly"])
def sync(shop):
    set_keys(shop=shop)
    stock = fetch(shop)
    with node("store", type="database", input=stock) as storing:
        storing.set_output(len(stock["items"]))
    return len(stock["items"])


sync("northwind")
flush()

log = Log(LOG)
for execution in log.get_executions("stock sync", limit=5):
    print(execution.started_at, execution.status, execution.duration_ms, "ms", execution.keys)
    _, nodes = log.get_execution(execution.id)
    for each in nodes:
        print("   ", each.node_name, each.status, each.input, "->", each.output)
