"""Who may call what. A path or method that is not in the table fails the test, so none comes in unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from pvc_core.model.task import Role
from pvc_core.state.cluster import ClusterState
from pvc_web.tasks.models import Audit, Task

PREFIX = "api/v1/"
VIEWER, OPERATOR, ADMINISTRATOR = Role.VIEWER, Role.OPERATOR, Role.ADMINISTRATOR

# The role that a method of a path needs; None: open to everyone.
NEEDED: dict[str, dict[str, Role | None]] = {
    "": {"get": VIEWER},
    "schema": {"get": None},
    "docs": {"get": None},
    "login": {"post": None},
    "logout": {"post": None},
    "backup": {"get": ADMINISTRATOR},
    "restore": {"post": ADMINISTRATOR},
    "initialize": {"post": ADMINISTRATOR},
    "status": {"get": VIEWER, "post": ADMINISTRATOR},
    "status/primary_node": {"get": VIEWER},
    "metrics": {"get": None},
    "metrics/health": {"get": None},
    "metrics/resource": {"get": None},
    "metrics/ceph": {"get": None},
    "metrics/zookeeper": {"get": None},
    "faults": {"get": VIEWER, "put": OPERATOR, "delete": OPERATOR},
    "faults/<str:fault>": {"get": VIEWER, "put": OPERATOR, "delete": OPERATOR},
    "tasks": {"get": VIEWER},
    "tasks/<str:task>": {"get": VIEWER, "delete": OPERATOR},
    "node": {"get": VIEWER},
    "node/<str:node>/fence": {"get": VIEWER, "post": ADMINISTRATOR},
    "node/<str:node>": {"get": VIEWER},
    "node/<str:node>/daemon-state": {"get": VIEWER},
    "node/<str:node>/coordinator-state": {"get": VIEWER, "post": OPERATOR},
    "node/<str:node>/domain-state": {"get": VIEWER, "post": OPERATOR},
    "node/<str:node>/log": {"get": VIEWER},
    "schedules/backup": {"get": VIEWER, "post": ADMINISTRATOR},
    "schedules/backup/<str:name>": {"get": VIEWER, "put": ADMINISTRATOR, "delete": ADMINISTRATOR},
    "schedules/backup/<str:name>/preview": {"post": OPERATOR},
    "schedules/backup/<str:name>/tests": {"get": VIEWER, "post": OPERATOR},
    "schedules/mirror": {"get": VIEWER, "post": ADMINISTRATOR},
    "schedules/mirror/<str:name>": {"get": VIEWER, "put": ADMINISTRATOR, "delete": ADMINISTRATOR},
    "schedules/target": {"get": VIEWER, "post": ADMINISTRATOR},
    "schedules/target/<str:name>": {"get": VIEWER, "put": ADMINISTRATOR, "delete": ADMINISTRATOR},
    "vm/autobackup": {"post": OPERATOR},
    "vm/automirror": {"post": OPERATOR},
    "vm": {"get": VIEWER, "post": ADMINISTRATOR},
    "vm/<str:vm>": {"get": VIEWER, "post": ADMINISTRATOR, "put": ADMINISTRATOR, "delete": ADMINISTRATOR},
    "vm/<str:vm>/state": {"get": VIEWER, "post": OPERATOR},
    "vm/<str:vm>/node": {"get": VIEWER, "post": OPERATOR},
    "vm/<str:vm>/meta": {"get": VIEWER, "post": OPERATOR},
    "vm/<str:vm>/tags": {"get": VIEWER, "post": OPERATOR},
    "vm/<str:vm>/rename": {"post": ADMINISTRATOR},
    "vm/<str:vm>/console": {"get": VIEWER},
    "vm/<str:vm>/device": {"post": OPERATOR, "delete": OPERATOR},
    "vm/<str:vm>/locks": {"post": ADMINISTRATOR},
    "vm/<str:vm>/snapshot": {"get": VIEWER, "post": OPERATOR, "delete": ADMINISTRATOR},
    "vm/<str:vm>/snapshot/rollback": {"post": ADMINISTRATOR},
    "vm/<str:vm>/snapshot/export": {"post": ADMINISTRATOR},
    "vm/<str:vm>/snapshot/import": {"post": ADMINISTRATOR},
    "vm/<str:vm>/backup": {"post": ADMINISTRATOR, "delete": ADMINISTRATOR},
    "vm/<str:vm>/restore": {"post": ADMINISTRATOR},
    "vm/<str:vm>/snapshot/send": {"post": ADMINISTRATOR},
    "vm/<str:vm>/snapshot/receive/block": {"post": ADMINISTRATOR, "put": ADMINISTRATOR, "patch": ADMINISTRATOR},
    "vm/<str:vm>/snapshot/receive/config": {"post": ADMINISTRATOR},
    "vm/<str:vm>/transfer": {"get": VIEWER, "post": ADMINISTRATOR},
    "vm/<str:vm>/transfer/<str:snapshot>": {"get": VIEWER, "post": ADMINISTRATOR, "delete": ADMINISTRATOR},
    "vm/<str:vm>/transfer/<str:snapshot>/<str:pool>/<str:volume>": {"put": ADMINISTRATOR},
    "peers": {"get": VIEWER, "post": ADMINISTRATOR},
    "peers/<str:peer>": {"get": VIEWER, "put": ADMINISTRATOR, "delete": ADMINISTRATOR},
    "mirrors": {"get": VIEWER},
    "vm/<str:vm>/mirror": {"get": VIEWER, "delete": ADMINISTRATOR},
    "vm/<str:vm>/mirror/create": {"post": ADMINISTRATOR},
    "vm/<str:vm>/mirror/promote": {"post": ADMINISTRATOR},
    "vm/<str:vm>/mirror/resync": {"post": ADMINISTRATOR},
    "vm/<str:vm>/mirror/take-back": {"post": ADMINISTRATOR},
    "vm/<str:vm>/mirror/take-over": {"post": ADMINISTRATOR},
    "network": {"get": VIEWER, "post": ADMINISTRATOR},
    "network/<str:vni>": {"get": VIEWER, "post": ADMINISTRATOR, "put": ADMINISTRATOR, "delete": ADMINISTRATOR},
    "storage/ceph/status": {"get": VIEWER},
    "storage/ceph/utilization": {"get": VIEWER},
    "storage/ceph/benchmark": {"get": VIEWER, "post": ADMINISTRATOR},
    "storage/ceph/option": {"post": ADMINISTRATOR},
    "storage/ceph/osd": {"get": VIEWER, "post": ADMINISTRATOR},
    "storage/ceph/osd/<int:osd>": {
        "get": VIEWER,
        "post": ADMINISTRATOR,
        "put": ADMINISTRATOR,
        "delete": ADMINISTRATOR,
    },
    "storage/ceph/osd/<int:osd>/state": {"get": VIEWER, "post": ADMINISTRATOR},
    "storage/ceph/osddb": {"post": ADMINISTRATOR},
    "storage/ceph/pool": {"get": VIEWER, "post": ADMINISTRATOR},
    "storage/ceph/pool/<str:pool>": {
        "get": VIEWER,
        "post": ADMINISTRATOR,
        "put": ADMINISTRATOR,
        "delete": ADMINISTRATOR,
    },
    "storage/ceph/volume": {"get": VIEWER, "post": ADMINISTRATOR},
    "storage/ceph/volume/<str:pool>/<str:volume>": {
        "get": VIEWER,
        "post": ADMINISTRATOR,
        "put": ADMINISTRATOR,
        "delete": ADMINISTRATOR,
    },
    "storage/ceph/volume/<str:pool>/<str:volume>/clone": {"post": ADMINISTRATOR},
    "storage/ceph/volume/<str:pool>/<str:volume>/scan": {"post": OPERATOR},
    "storage/ceph/volume/<str:pool>/<str:volume>/upload": {"post": ADMINISTRATOR},
    "storage/ceph/snapshot": {"get": VIEWER, "post": ADMINISTRATOR},
    "storage/ceph/snapshot/<str:pool>/<str:volume>/<str:snapshot>": {
        "get": VIEWER,
        "post": ADMINISTRATOR,
        "put": ADMINISTRATOR,
        "delete": ADMINISTRATOR,
    },
    "storage/ceph/snapshot/<str:pool>/<str:volume>/<str:snapshot>/rollback": {"post": ADMINISTRATOR},
}
# These are complete as they are, so they are accepted from whoever may make them.
NEEDS_NOTHING = {("faults", "put"), ("faults", "delete"), ("backup", "get")}

CALLS = [(path, method, role) for path, methods in NEEDED.items() for method, role in methods.items()]


def served(patterns: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every path of the API with each method that its view has."""
    for entry in patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from served(entry.url_patterns, path)
        elif path.startswith(PREFIX):
            view = entry.callback.cls
            methods = (method for method in ("get", "post", "put", "patch", "delete") if hasattr(view, method))
            yield from ((path.removeprefix(PREFIX), method) for method in methods)


def test_the_table_has_every_call() -> None:
    assert set(served(get_resolver().url_patterns)) == {(path, method) for path, method, _ in CALLS}


@pytest.mark.parametrize(("path", "method", "needed"), CALLS, ids=lambda value: str(value) or "root")
def test_a_call_is_open_to_its_role_and_to_no_lesser_one(
    api: Callable[[Role | None], APIClient], cluster: ClusterState, path: str, method: str, needed: Role | None
) -> None:
    url = f"/{PREFIX}{path}"
    for placeholder in ("node", "vm", "pool", "volume", "task", "fault"):
        url = url.replace(f"<str:{placeholder}>", "nothing-of-this-name")
    url = url.replace("<str:vni>", "4000").replace("<int:osd>", "4000")

    if needed is None:
        assert getattr(api(None), method)(url).status_code not in (403, 404)
        return
    assert getattr(api(None), method)(url).status_code == 401
    for role in Role:
        answer = getattr(api(role), method)(url, HTTP_PREFER="respond-async")
        if role < needed:
            assert answer.status_code == 403, role
            assert answer.json() == {"message": "your role does not allow this", "code": "forbidden"}
        else:
            assert answer.status_code not in (401, 403, 405, 500), (role, answer.content)
    if (path, method) not in NEEDS_NOTHING:
        assert not Task.objects.exists()
        assert not Audit.objects.exists()


def test_a_token_in_the_wrong_place_opens_nothing(
    api: Callable[[Role | None], APIClient], cluster: ClusterState
) -> None:
    assert api(None).get("/api/v1/vm", HTTP_X_API_KEY="").status_code == 401
    assert api(None).get("/api/v1/vm", HTTP_X_API_KEY="pvc").status_code == 401
    assert api(None).get("/api/v1/vm", HTTP_AUTHORIZATION="Bearer x").status_code == 401
