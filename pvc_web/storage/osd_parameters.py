"""Arguments of the calls on OSDs."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from pvc_web.api.parameters import FlagField, PageParameters, Parameters, PatternField, SizeField, SureParameters

_DEVICE = "Path of a disk, or detect:NAME:SIZE:ID: a part of its model, its size as in 800GB, which of such from 0"
_RATIO = "Size of a database on the node's volume group for them, as a part of the OSD's, such as 0.05"
_SIZE = "The same as a size, such as 20G"


class OsdListParameters(PageParameters):
    limit = PatternField(help_text="Part of the id, as a regular expression")


class DeviceParameters(Parameters):
    device = serializers.CharField(help_text=_DEVICE)


class NodeDeviceParameters(DeviceParameters):
    node = serializers.CharField(help_text="Name of the node that has the disk")


class OsdAddParameters(NodeDeviceParameters):
    weight = serializers.FloatField(
        required=False, default=None, help_text="Share of the data of each that is made; else its size in TiB"
    )
    ext_db_ratio = serializers.FloatField(source="db_ratio", default=0.0, help_text=_RATIO)
    ext_db_size = SizeField(source="db_size", default=0, help_text=_SIZE)
    osd_count = serializers.IntegerField(source="count", default=1, help_text="How many OSDs to make on the disk")


class OsdRefreshParameters(DeviceParameters):
    force = FlagField(default=False, help_text="Restart it even if data cannot be read meanwhile")


class OsdReplaceParameters(Parameters):
    new_device = serializers.CharField(source="device", help_text=_DEVICE)
    old_device = serializers.CharField(default="", help_text="The disk that it is on now; refused where it is another")
    weight = serializers.FloatField(required=False, default=None, help_text="Its new share of the data; else as before")
    ext_db_ratio = serializers.FloatField(source="db_ratio", default=0.0, help_text=_RATIO)
    ext_db_size = SizeField(source="db_size", default=0, help_text=f"{_SIZE}; as before if neither is given")
    force = FlagField(default=False, help_text="Even if data is lost by it")


class OsdRemoveParameters(SureParameters):
    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        force = FlagField(
            default=False, help_text="Wait for nothing, even if data is lost, and go on where a step fails"
        )
        return super().get_fields() | {"force": force}


class OsdStateParameters(Parameters):
    state = serializers.ChoiceField(choices=("in", "out"), help_text="in: it takes data; out: its data moves elsewhere")
    force = FlagField(default=False, help_text="Out even if fewer OSDs are left than a pool keeps copies")


class OsdOptionParameters(Parameters):
    option = serializers.CharField(help_text="A flag as ceph osd set takes it, such as noout")
    action = serializers.ChoiceField(choices=("set", "unset"), help_text="What to do with it")
