"""Real PostgreSQL, Redis and ZooKeeper for the tests in this directory, one set for the whole run.

Django reads its configuration when it is imported, so the services' addresses are fixed as soon as tests are collected;
they are started when the first test needs them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import django
import pytest
import yaml
from redis import Redis

from lab.local import LocalServices


def _quicken(config_file: Path) -> None:
    """Shorten what a test would wait for: the death of a worker, and of a session."""
    config = yaml.safe_load(config_file.read_text())
    config["worker"] = {"heartbeat_interval": 0.5, "heartbeat_limit": 3.0}
    config["zookeeper"]["session_timeout"] = 3.0
    config_file.write_text(yaml.safe_dump(config))


SERVICES = LocalServices()
_quicken(SERVICES.config_file)
os.environ["PVC_CONFIG_FILE"] = str(SERVICES.config_file)
os.environ["DJANGO_SETTINGS_MODULE"] = "pvc_web.config.settings"
django.setup()

from django.apps import apps  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from rest_framework.test import APIClient  # noqa: E402

from pvc_core.model.task import Role  # noqa: E402
from pvc_core.ports import Delete, Session, Store  # noqa: E402
from pvc_core.state import records  # noqa: E402
from pvc_core.state.cluster import ClusterState  # noqa: E402
from pvc_web.accounts.models import Token, User  # noqa: E402
from pvc_web.config import cluster as connections  # noqa: E402
from tests.contract.worlds import eventually  # noqa: E402
from tests.services.processes import Workers  # noqa: E402

PRESERVED_TABLES = ("django_content_type",)


def pytest_unconfigure() -> None:
    SERVICES.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.services)


@pytest.fixture(scope="session")
def services() -> Iterator[LocalServices]:
    """The running services, with the tables in the database."""
    SERVICES.start()
    call_command("migrate", interactive=False, verbosity=0)
    yield SERVICES
    connections.state().store.close()


@pytest.fixture
def database(services: LocalServices) -> Iterator[None]:
    """An empty database, and an empty Redis. The test may commit; what it wrote is removed after it."""
    Redis.from_url(services.redis).flushdb()
    yield
    tables = [model._meta.db_table for model in apps.get_models() if model._meta.db_table not in PRESERVED_TABLES]
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")


@pytest.fixture
def cluster(services: LocalServices) -> Iterator[ClusterState]:
    """The state of a cluster without nodes or machines, in ZooKeeper. The web's view and the workers' follow it."""
    state = connections.state()
    connections.view().settle()
    yield state
    eventually(lambda: state.store.session is Session.CONNECTED)  # short as it is, a busy machine may lose it
    for directory in records.DIRECTORIES:
        _empty(state.store, directory)
    for key in (records.PRIMARY, records.MAINTENANCE, records.STORAGE, records.CAPACITY):
        entry = state.find(key)
        if entry is not None:
            state.transaction().delete(entry).commit()
    connections.view().settle()


@pytest.fixture
def user(database: None) -> Callable[[Role], User]:
    """Makes, or finds, the user of a role."""

    def find(role: Role) -> User:
        name = role.name.lower()
        return User.objects.filter(username=name).first() or User.objects.create_user(name, None, role)

    return find


@pytest.fixture
def api(user: Callable[[Role], User]) -> Callable[[Role | None], APIClient]:
    """Makes clients of the REST API that show a token of that role; None: no credentials."""

    def make(role: Role | None) -> APIClient:
        client = APIClient(raise_request_exception=False)
        if role is not None:
            _, text = Token.objects.issue(user(role), "test")
            client.credentials(HTTP_X_API_KEY=str(text))
        return client

    return make


def _empty(store: Store, path: str) -> None:
    """Remove everything below ``path``."""
    for name in store.children(path):
        child = f"{path}/{name}"
        _empty(store, child)
        raw = store.get(child)
        if raw is not None:
            store.commit([Delete(child, raw.version)])


@pytest.fixture
def workers(database: None, cluster: ClusterState, tmp_path: Path) -> Iterator[Workers]:
    found = Workers(tmp_path)
    yield found
    found.close()
