"""Other clusters in the API."""

from __future__ import annotations

import pytest

from pvc_core.errors import NotFound
from pvc_core.model.mirror import Lineage, Mirror, MirrorRole, Promotion
from pvc_core.model.task import Role
from pvc_core.state import records
from pvc_web.config import cluster as connections
from pvc_web.peers.directory import StoredPeers
from pvc_web.peers.models import Peer
from pvc_web.tasks.models import Audit
from tests.services.world import WEB, populate

BASE = "/api/v1"
URI = "https://west.example.com:7370/api/v1"
SECRET = "pvc_abc_notforanyone"


def add(api, **fields):
    body = {"name": "west", "api_uri": URI, "token": SECRET} | fields
    return api(Role.ADMINISTRATOR).post(f"{BASE}/peers", body, format="json")


def test_a_peer_is_added_shown_changed_and_removed_and_its_token_never_shown(api, cluster) -> None:
    answers = [add(api, bandwidth="50M", pool="copies")]
    client = api(Role.ADMINISTRATOR)
    assert answers[0].json() == {
        "name": "west", "api_uri": URI, "verify_ssl": True, "pool": "copies", "bandwidth": 50 << 20,
    }  # fmt: skip
    answers += [client.get(f"{BASE}/peers"), client.get(f"{BASE}/peers/west")]
    answers.append(client.put(f"{BASE}/peers/west", {"token": f"{SECRET}2", "bandwidth": 0}, format="json"))
    access = StoredPeers().find("west")
    assert (access.token, access.bandwidth, access.pool) == (f"{SECRET}2", 0, "copies")
    assert SECRET not in repr(access)
    answers.append(client.delete(f"{BASE}/peers/west"))
    assert all(answer.status_code == 200 for answer in answers)
    assert SECRET not in "".join(answer.content.decode() for answer in answers)
    assert SECRET not in str([audit.arguments for audit in Audit.objects.all()])
    assert [audit.action for audit in Audit.objects.order_by("at")] == ["peer.add", "peer.modify", "peer.remove"]
    with pytest.raises(NotFound, match="there is no peer 'west'"):
        StoredPeers().find("west")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "we st"}, "name"),
        ({"api_uri": "west.example.com"}, "api_uri: 'west.example.com' is not of the form"),
        ({"api_uri": "ftp://west"}, "api_uri"),
        ({"api_uri": f"https://user:{SECRET}@west/api/v1"}, "api_uri"),
        ({"token": f"{SECRET} {SECRET}"}, "token: a token is one word"),
        ({"bandwidth": "fast"}, "bandwidth"),
    ],
)
def test_what_cannot_be_is_refused_by_name(api, cluster, fields, words: str) -> None:
    answer = add(api, **fields)
    assert answer.status_code == 400
    assert words in answer.json()["message"]
    assert SECRET not in answer.content.decode()
    assert not Peer.objects.exists()


def test_an_address_without_a_path_is_that_of_the_api(api, cluster) -> None:
    assert add(api, api_uri="https://west.example.com:7370/").json()["api_uri"] == URI


def test_a_name_is_taken_once(api, cluster) -> None:
    add(api)
    assert add(api).status_code == 409


def test_a_peer_with_mirrors_stays(api, cluster) -> None:
    populate(cluster)
    add(api)
    lineage = Lineage((Promotion(1, "fsid", "", False, 0.0),))
    cluster.put(records.mirror(WEB), Mirror(WEB, "west", MirrorRole.PRIMARY, lineage))
    connections.view().settle()
    answer = api(Role.ADMINISTRATOR).delete(f"{BASE}/peers/west")
    assert answer.status_code == 409
    assert "VM web is mirrored with peer west" in answer.json()["message"]


def test_only_administrators_change_peers(api, cluster) -> None:
    add(api)
    for role, status in ((None, 401), (Role.VIEWER, 403), (Role.OPERATOR, 403)):
        client = api(role)
        assert client.post(f"{BASE}/peers", {}, format="json").status_code == status
        assert client.put(f"{BASE}/peers/west", {"bandwidth": 1}, format="json").status_code == status
        assert client.delete(f"{BASE}/peers/west").status_code == status
        assert client.put(f"{BASE}/vm/x/transfer/s1/vms/d?transfer=1&position=0").status_code == status


def test_a_destination_by_its_address_becomes_a_peer(api, cluster) -> None:
    """The task has the peer's name among its arguments, and no token."""
    from pvc_core.model.vm_snapshot import Quiesced, SnapshotDisk, VmConfig, VmSnapshot

    populate(cluster)
    cluster.store.ensure(records.vm_snapshots(WEB))
    taken = VmSnapshot(WEB, "s1", 1.0, Quiesced.OFF, (SnapshotDisk("vms/web_disk0", 1),))
    transaction = cluster.transaction().create(records.vm_snapshot(WEB, "s1"), taken)
    transaction.create(records.vm_snapshot_config(WEB, "s1"), VmConfig("web", "")).commit()
    connections.view().settle()
    body = {"snapshot_name": "s1", "destination_api_uri": URI, "destination_api_key": SECRET}
    client = api(Role.ADMINISTRATOR)
    answer = client.post(f"{BASE}/vm/web/snapshot/send", body, format="json")
    assert answer.status_code == 202, answer.content
    task = client.get(f"{BASE}/tasks/{answer.json()['task_id']}").json()
    assert task["task_name"] == "vm.snapshot.send"
    assert StoredPeers().find("west.example.com").token == SECRET
    assert SECRET not in str(Audit.objects.values_list("arguments", flat=True))
    for wrong in (
        {"snapshot_name": "s1"},
        {**body, "peer": "west"},
        {"snapshot_name": "s1", "destination_api_uri": URI},
    ):
        refused = client.post(f"{BASE}/vm/web/snapshot/send", wrong, format="json")
        assert refused.status_code == 400
        assert "give either peer" in refused.json()["message"]
    assert client.post(f"{BASE}/vm/web/snapshot/send", {"snapshot_name": "s1", "peer": "north"}).status_code == 404
