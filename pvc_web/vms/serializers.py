"""Arguments of the calls on machines."""

from __future__ import annotations

from enum import StrEnum

from rest_framework import serializers

from pvc_core.model.snapshot import ShownState
from pvc_core.model.vm import MAX_PRIORITY, MigrationMethod, Selector
from pvc_web.api.parameters import CsvField, EnumField, FlagField, PageParameters, Parameters, PatternField

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
    negate = FlagField(default=False, help_text="Only machines that are NOT of this node, state or tag")


class VmDefineParameters(Parameters):
    xml = serializers.CharField(help_text="The domain XML of libvirt")
    node = serializers.CharField(required=False, default="", help_text="Node to run on; chosen unless given")
    limit = CsvField(help_text="Nodes it may run on, separated by commas; all unless given")
    selector = EnumField(Selector, default=Selector.NONE, help_text="How a node is chosen")
    autostart = FlagField(default=False, help_text="Start it when its node becomes ready")
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
    force = FlagField(default=False, help_text="For disable: cut the power rather than shut down")
    wait = FlagField(default=False, help_text="Answer when that state is reached")


class VmNodeParameters(Parameters):
    action = EnumField(NodeAction, help_text="Move for a while, back, or for good")
    node = serializers.CharField(required=False, default="", help_text="Where to; chosen unless given")
    force = FlagField(default=False, help_text="Also when it has been migrated already")
    wait = FlagField(default=False, help_text="Answer when it has moved")
    force_live = FlagField(default=False, help_text="Refuse rather than shut it down in order to move it")


class VmMetadataParameters(Parameters):
    limit = CsvField(default=None, help_text="Nodes it may run on, separated by commas; empty for all")
    selector = EnumField(Selector, required=False, default=None, help_text="How a node is chosen")
    autostart = FlagField(default=None, allow_null=True, help_text="Start it when its node becomes ready")
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
