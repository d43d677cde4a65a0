"""A workflow of two nodes, of which the second fails. With FLOWWATCH_URL and FLOWWATCH_TOKEN it is sent."""

from flowwatch_client import node, workflow


@node
def read_orders():
    return [{"order": 4711, "total": 129.9}]


@node
def send_invoice(order):
    raise RuntimeError("503 Service Unavailable: the invoicing service is down")


@workflow("invoices")
def invoices():
    for order in read_orders():
        send_invoice(order)


invoices()
