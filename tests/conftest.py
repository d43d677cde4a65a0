"""One PostgreSQL for the whole run, one database for each worker, the app role for every test."""

import os
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import TransactionTestCase
from pytest_django.plugin import DjangoDbBlocker
from xdist.remote import Producer
from xdist.scheduler import Scheduling

from tests.config.servers import WebServer
from tests.database import TestServer, create_worker_database
from tests.distribution import ProcessesOneByOne
from tests.emptying import empty_database

SERVER = pytest.StashKey[TestServer]()


def pytest_configure(config: pytest.Config) -> None:
    """The first process starts the server; xdist's workers use it."""
    if not os.environ.get("PYTEST_XDIST_WORKER") and not config.option.collectonly:
        config.stash[SERVER] = TestServer()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server and throw its files away."""
    if server := config.stash.get(SERVER, None):
        server.stop()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Two real process trees at a time are one too many for two cores."""
    return ProcessesOneByOne(config, log)


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Give this worker its database (pytest-django's own would need the right to create one)."""
    with django_db_blocker.unblock():
        create_worker_database(settings.DATABASES["default"]["NAME"])
    monkeypatch_session = pytest.MonkeyPatch()
    monkeypatch_session.setattr(
        TransactionTestCase, "_fixture_teardown", lambda case: empty_database()
    )
    yield
    monkeypatch_session.undo()


@pytest.fixture(autouse=True)
def just_started() -> None:
    """No test is two minutes of a web process without workers, however long all take."""
    from scheduling.status import watch

    watch.begin()


@pytest.fixture
def granian_server(transactional_db: None) -> Iterator[WebServer]:
    """The real web server on this test's database; ``.url``, ``.port``."""
    with WebServer() as server:
        yield server
