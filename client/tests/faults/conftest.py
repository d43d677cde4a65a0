"""A real Flowwatch for all tests of faults, and a bad network before it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from proxy import Proxy, proxy_to
from trial import Product, running_product


@pytest.fixture(scope="session")
def product() -> Iterator[Product]:
    with running_product() as product:
        yield product


@pytest.fixture
def proxy(product: Product) -> Iterator[Proxy]:
    with proxy_to(product.port) as proxy:
        yield proxy
