"""The process tree: whatever part is killed, it heals or ends whole; nothing outlives it."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from config.postgres.cluster import APP_ROLE
from tests.config.trees import PATIENCE, Tree, kill, wait_for

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    """One data folder for the module: made and migrated once."""
    tree = Tree()
    try:
        yield tree
    finally:
        tree.throw_away()


@pytest.fixture
def running(tree: Tree) -> Tree:
    """The tree at work; what an earlier test left ended is started again."""
    if tree.process is None or tree.process.poll() is not None:
        tree.start_and_wait()
        wait_for(lambda: shape(tree) == WHOLE, PATIENCE, "all parts started")
    return tree


def guard(tree: Tree) -> int:
    return tree.pids("config.postgres.guard")[0]


def web(tree: Tree) -> int:
    return tree.pids("config.web")[0]


def web_process(tree: Tree) -> int:
    return tree.pids("config.web")[-1]


def worker(tree: Tree) -> int:
    return tree.pids("run_worker")[0]


def tick(tree: Tree) -> int:
    return tree.pids("run_tick")[0]


def watchdog(tree: Tree) -> int:
    return tree.pids("run_cluster", "a")[0]


def postmaster(tree: Tree) -> int:
    return tree.postmaster()


PARTS: list[Callable[[Tree], int]] = [
    web,
    web_process,
    worker,
    tick,
    watchdog,
    guard,
    postmaster,
]


# A cluster is its watchdog and six processes of django-q2.
WHOLE = {"guards": 1, "web": 3, "workers": 1, "ticks": 1, "clusters": 14}


def database_answers(tree: Tree) -> bool:
    """Whether PostgreSQL takes connections, asked without the web."""
    try:
        psycopg.connect(**tree.cluster.connection_parameters(APP_ROLE)).close()
    except psycopg.OperationalError:
        return False
    return True


def shape(tree: Tree) -> dict[str, int]:
    """How many processes of each kind there are."""
    return {
        "guards": len(tree.pids("config.postgres.guard")),
        "web": len(tree.pids("config.web")),
        "workers": len(tree.pids("run_worker")),
        "ticks": len(tree.pids("run_tick")),
        "clusters": len(tree.pids("run_cluster")),
    }


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_a_killed_part_comes_back_and_leaves_no_orphan(
    running: Tree, part: Callable[[Tree], int]
) -> None:
    victim = part(running)
    kill(victim)
    wait_for(lambda: victim not in [*running.pids(), *running.postgres()], PATIENCE, "dead")
    wait_for(lambda: shape(running) == WHOLE, PATIENCE, "the same processes as before")
    running.wait_until_ready()


def test_the_first_request_after_the_database_is_back_is_answered_at_once(running: Tree) -> None:
    with ThreadPoolExecutor(24) as clients:  # so that each web process keeps several connections
        assert all(clients.map(lambda _: running.ready(), range(96)))
    held = guard(running)
    os.kill(held, signal.SIGSTOP)  # or it starts the next one at once
    try:
        kill(running.postmaster())
        wait_for(lambda: not running.postgres(), PATIENCE, "the database is gone")
        away = httpx.get(f"{running.url}/health/ready", timeout=PATIENCE)
        assert away.status_code == 503
    finally:
        os.kill(held, signal.SIGCONT)
    wait_for(lambda: database_answers(running), PATIENCE, "the database is back")
    statuses = [httpx.get(f"{running.url}/health/ready", timeout=5).status_code for _ in range(24)]
    assert set(statuses) == {200}


def test_a_killed_supervisor_takes_all_with_it_and_the_next_start_is_clean(running: Tree) -> None:
    assert running.process is not None
    kill(running.process.pid)
    wait_for(running.gone, PATIENCE, "all parts ended")
    running.start_and_wait()


def test_a_server_that_outlived_its_guard_is_ended_by_the_next_start(running: Tree) -> None:
    assert running.process is not None
    old = running.postmaster()
    frozen = guard(running)
    os.kill(frozen, signal.SIGSTOP)  # or it might have begun to stop the server
    kill(running.process.pid)
    kill(frozen)
    wait_for(lambda: not running.pids(), PATIENCE, "all but PostgreSQL ended")
    assert old in running.postgres()
    running.start_and_wait()
    assert old not in running.postgres()


def test_ctrl_c_ends_all_in_order(running: Tree) -> None:
    assert running.interrupt(signal.SIGINT) == 0
    assert running.gone()
    assert not (running.cluster.data / "postmaster.pid").exists()


def test_a_taken_port_is_told_before_anything_starts(tree: Tree) -> None:
    if tree.process is not None and tree.process.poll() is None:
        tree.interrupt()
    with socket.create_server(("127.0.0.1", tree.port)):
        words = tree.run_refused()
    assert f"port {tree.port}" in words
    assert f"PORT={tree.port + 1}" in words
    assert tree.gone()


def test_a_second_run_on_the_same_folder_is_refused(running: Tree) -> None:
    words = running.run_refused()
    assert "already runs" in words
    assert running.ready()


def test_commands_work_beside_a_running_tree(running: Tree) -> None:
    answer = running.command("create_tenant", "Ada & Co", "--slug", "ada")
    assert (answer.returncode, answer.stdout.strip()) == (0, "ada")
    refused = running.command("create_tenant", "Ada & Co", "--slug", "ada")
    assert refused.returncode != 0
    assert refused.stdout == ""
    assert refused.stderr


def test_commands_start_a_server_for_themselves_when_none_runs(tree: Tree) -> None:
    if tree.process is not None and tree.process.poll() is None:
        tree.interrupt()
    answer = tree.command("create_tenant", "Grace", "--slug", "grace")
    assert (answer.returncode, answer.stdout.strip()) == (0, "grace")
    wait_for(tree.gone, PATIENCE, "the command's server ended")
