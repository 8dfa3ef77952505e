"""Arguments of the calls on machines."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from rest_framework import serializers

from pvc_core.model.snapshot import ShownState
from pvc_core.model.vm import MAX_PRIORITY, MigrationMethod, Selector
from pvc_web.api.parameters import CsvField, EnumField, FlagField, PageParameters, Parameters, PatternField
from pvc_web.peers.serializers import ApiUriField, TokenField

MAX_DOWNTIME = 300  # milliseconds; what a machine gets that says nothing of it

PRIORITY = "Of two machines for one place, the higher one gets it"
AFFINITY = "Tags of machines with which it shares a node where that is possible, separated by commas"
ANTI_AFFINITY = "Tags of machines with which it shares no node where that is possible, separated by commas"


class PowerAction(StrEnum):
    START = "start"
    SHUTDOWN = "shutdown"
    STOP = "stop"
    RESTART = "restart"
    DISABLE = "disable"


class NodeAction(StrEnum):
    MIGRATE = "migrate"  # for a while: unmigrate brings it back
    UNMIGRATE = "unmigrate"
    MOVE = "move"  # for good


class TagAction(StrEnum):
    ADD = "add"
    REMOVE = "remove"


class VmListParameters(PageParameters):
    limit = PatternField(help_text="Part of the name or of a tag as a regular expression, or a whole uuid")
    node = serializers.CharField(required=False, default=None, help_text="Only machines of this node")
    state = EnumField(ShownState, required=False, default=None, help_text="Only machines in this state")
    tag = serializers.CharField(required=False, default=None, help_text="Only machines with this tag")
    mirror = FlagField(default=False, help_text="Only machines that have a mirror at another cluster, or are one")
    negate = FlagField(default=False, help_text="Only machines that are NOT of this node, state or tag")


class VmDefineParameters(Parameters):
    xml = serializers.CharField(help_text="The domain XML of libvirt")
    node = serializers.CharField(required=False, default="", help_text="Node to run on; chosen unless given")
    limit = CsvField(source="node_limit", help_text="Nodes it may run on, separated by commas; all unless given")
    selector = EnumField(Selector, source="node_selector", default=Selector.NONE, help_text="How a node is chosen")
    autostart = FlagField(source="node_autostart", default=False, help_text="Start it when its node becomes ready")
    migration_method = EnumField(MigrationMethod, default=MigrationMethod.NONE, help_text="How it moves")
    migration_max_downtime = serializers.IntegerField(
        min_value=1, default=MAX_DOWNTIME, help_text="Milliseconds that it may stand still in a live migration"
    )
    priority = serializers.IntegerField(min_value=0, max_value=MAX_PRIORITY, default=0, help_text=PRIORITY)
    affinity = CsvField(help_text=AFFINITY)
    anti_affinity = CsvField(help_text=ANTI_AFFINITY)
    user_tags = CsvField(help_text="Tags to begin with")
    protected_tags = CsvField(help_text="Tags that stay until it is removed")


class VmModifyParameters(Parameters):
    xml = serializers.CharField(help_text="The whole new domain XML of libvirt")
    restart = FlagField(default=False, help_text="Restart it, so that the changes take effect")


class VmRemoveParameters(Parameters):
    delete_disks = FlagField(default=False, help_text="Also remove its volumes with their data")


class VmStateParameters(Parameters):
    state = EnumField(PowerAction, help_text="The state to go to")
    force = FlagField(
        default=False,
        help_text="For disable: cut the power rather than shut down; for start, stop and disable of a mirror: promote "
        "it here without asking the other cluster",
    )
    wait = FlagField(default=False, help_text="Answer when that state is reached")


class VmNodeParameters(Parameters):
    action = EnumField(NodeAction, help_text="Move for a while, back, or for good")
    node = serializers.CharField(required=False, default="", help_text="Where to; chosen unless given")
    force = FlagField(default=False, help_text="Also when it has been migrated already")
    wait = FlagField(default=False, help_text="Answer when it has moved")
    force_live = FlagField(default=False, help_text="Refuse rather than shut it down in order to move it")


class VmMetadataParameters(Parameters):
    limit = CsvField(
        source="node_limit", default=None, help_text="Nodes it may run on, separated by commas; empty for all"
    )
    selector = EnumField(
        Selector, source="node_selector", required=False, default=None, help_text="How a node is chosen"
    )
    autostart = FlagField(
        source="node_autostart", default=None, allow_null=True, help_text="Start it when its node becomes ready"
    )
    profile = serializers.CharField(required=False, default=None, allow_blank=True, help_text="Provisioning profile")
    migration_method = EnumField(MigrationMethod, required=False, default=None, help_text="How it moves")
    migration_max_downtime = serializers.IntegerField(
        required=False,
        min_value=1,
        default=None,
        help_text="Milliseconds that it may stand still in a live migration",
    )
    priority = serializers.IntegerField(
        required=False, min_value=0, max_value=MAX_PRIORITY, default=None, help_text=PRIORITY
    )
    affinity = CsvField(default=None, help_text=AFFINITY)
    anti_affinity = CsvField(default=None, help_text=ANTI_AFFINITY)


class VmTagParameters(Parameters):
    action = EnumField(TagAction, help_text="Add the tag or remove it")
    tag = serializers.CharField(help_text="The tag")
    protected = FlagField(default=False, help_text="Whether an added tag stays until the machine is removed")


class VmRenameParameters(Parameters):
    new_name = serializers.CharField(help_text="The new name")


class VmDeviceParameters(Parameters):
    xml = serializers.CharField(help_text="The XML of the device, as in the domain XML")


class SnapshotParameters(Parameters):
    snapshot_name = serializers.CharField(help_text="Name of the snapshot")


class VmSnapshotCreateParameters(Parameters):
    snapshot_name = serializers.CharField(
        required=False, default="", help_text="Name of the snapshot; the time in UTC, as YYYYMMDDHHMMSS, unless given"
    )


class SnapshotRollbackParameters(SnapshotParameters):
    keep_config = FlagField(default=False, help_text="Roll back the disks alone, and keep the present configuration")


class PlaceParameters(Parameters):
    """Where files of a machine lie."""

    node = serializers.CharField(
        required=False, default="", help_text="Node whose directory is meant; the primary coordinator unless given"
    )


class SnapshotExportParameters(PlaceParameters):
    snapshot_name = serializers.CharField(source="snapshot", help_text="The snapshot to export")
    export_path = serializers.CharField(
        source="path", help_text="Absolute path of a directory of the node, or a store of backups"
    )
    incremental_parent = serializers.CharField(
        source="parent",
        required=False,
        default="",
        help_text="An older snapshot that is exported there: only what differs is written",
    )
    verify = FlagField(default=False, help_text="Read all of it back before it counts as complete")


class ImportParameters(PlaceParameters):
    retain_snapshot = FlagField(default=True, help_text="Keep its snapshots, so that increments can differ from them")
    force = FlagField(default=False, help_text="Even if a pool could then be filled beyond its safe limit")
    identity_file = serializers.CharField(
        required=False, default="", help_text="A file of the node with the age identity that decrypts it"
    )


class SnapshotImportParameters(ImportParameters):
    snapshot_name = serializers.CharField(source="snapshot", help_text="The exported snapshot")
    import_path = serializers.CharField(source="path", help_text="The directory or store to which it was exported")


class BackupCreateParameters(PlaceParameters):
    backup_path = serializers.CharField(
        source="path", help_text="Absolute path of a directory of the node, or a store of backups"
    )
    incremental_parent = serializers.CharField(
        source="parent",
        required=False,
        default="",
        help_text="A backup there whose snapshot was retained: only what differs is written",
    )
    retain_snapshot = FlagField(default=False, help_text="Keep its snapshot, so that increments can differ from it")


class BackupRemoveParameters(PlaceParameters):
    backup_path = serializers.CharField(source="path", help_text="The directory or store in which it is")
    backup_datestring = serializers.CharField(source="name", help_text="The backup's name, such as 20260131235959")


class BackupRestoreParameters(ImportParameters):
    backup_path = serializers.CharField(source="path", help_text="The directory or store in which it is")
    backup_datestring = serializers.CharField(source="snapshot", help_text="The backup's name, such as 20260131235959")


class DestinationParameters(Parameters):
    """The destination is a peer that is known here, or given by its address and a key."""

    needs_destination = True

    peer = serializers.CharField(required=False, default="", help_text="The other cluster, by its name here")
    destination_api_uri = ApiUriField(required=False, default="", help_text="Or by the address of its API")
    destination_api_key = TokenField(required=False, default="", help_text="and a key of that API")
    destination_api_verify_ssl = FlagField(default=True, help_text="Whether its certificate must be valid")
    destination_storage_pool = serializers.CharField(
        required=False, default="", help_text="Pool of the disks there; pools of the same names unless given"
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        uri, key = bool(attrs["destination_api_uri"]), bool(attrs["destination_api_key"])
        none = not (attrs["peer"] or uri or key)
        if uri != key or (attrs["peer"] and uri) or (none and self.needs_destination):
            raise serializers.ValidationError("give either peer, or destination_api_uri and destination_api_key")
        return attrs


class SnapshotSendParameters(DestinationParameters):
    snapshot_name = serializers.CharField(help_text="The snapshot to send")
    incremental_parent = serializers.CharField(
        required=False, default="", help_text="An older snapshot that both clusters have: only what differs is sent"
    )


class MirrorParameters(DestinationParameters):
    """Without a destination it is that of the mirror which there is already."""

    needs_destination = False


class MirrorCreateParameters(MirrorParameters):
    goal = serializers.FloatField(
        required=False, default=None, min_value=0, help_text="Seconds of lag after which a fault is raised; 0 for none"
    )


class MirrorPromoteParameters(MirrorParameters):
    remove_on_source = FlagField(default=False, help_text="Remove it here once it runs there: a move for good")
    force = FlagField(
        default=False, help_text="Promote the copy of THIS cluster without asking the other one, for when that is lost"
    )


class MirrorTakeOverParameters(Parameters):
    lineage = serializers.CharField(help_text="All promotions of the machine as JSON, the last one being asked for")
    start = FlagField(default=False, help_text="Whether the machine is to be started")


class TransferBeginParameters(Parameters):
    offer = serializers.JSONField(help_text="The snapshot with its configuration, as another cluster of PVC offers it")
    source = serializers.CharField(help_text="The fsid of that cluster's Ceph")


class TransferPartParameters(Parameters):
    transfer = serializers.CharField(help_text="The transfer's id")
    position = serializers.IntegerField(min_value=0, help_text="From which byte of the volume on blocks are sent")


class ReceiveBlockParameters(Parameters):
    """One volume of a snapshot that another cluster sends by the documented calls."""

    pool = serializers.CharField(help_text="The pool in which the volume is to be here")
    volume = serializers.CharField(help_text="The volume's name")
    snapshot = serializers.CharField(help_text="The snapshot that comes")


class ReceiveWholeParameters(ReceiveBlockParameters):
    size = serializers.IntegerField(min_value=1, help_text="Bytes of the volume, and so of the body")


class ReceiveDifferenceParameters(ReceiveBlockParameters):
    source_snapshot = serializers.CharField(help_text="The older snapshot, which is here too, from which it differs")


class ReceiveConfigParameters(ReceiveWholeParameters):
    """Pool, volume and size are those of the machine's first disk."""

    source_snapshot = serializers.CharField(
        required=False, default="", help_text="The older snapshot from which volumes of this one differ"
    )
    taken = serializers.JSONField(help_text="The snapshot: vm, name, created, quiesced, disks, purpose")
    config = serializers.JSONField(help_text="The machine then: name, xml, meta, tags")
