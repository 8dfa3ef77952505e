"""Arguments of the calls on pools and volumes."""

from __future__ import annotations

import re
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from pvc_web.api.parameters import FlagField, PageParameters, Parameters, PatternField, SizeField

IMAGE_FORMATS = ("raw", "vmdk", "qcow2", "qed", "vdi", "vpc")
_REPLICATION = re.compile(r"copies=(\d+),mincopies=(\d+)")


class ReplicationField(serializers.CharField):
    """Copies of each object, and how many of them must be there to write; answers both numbers."""

    default_error_messages = {"form": "{input!r} is not of the form copies=3,mincopies=2"}

    def to_internal_value(self, data: Any) -> tuple[int, int]:  # type: ignore[override]
        match = _REPLICATION.fullmatch(str(data).replace(" ", ""))
        if match is None:
            self.fail("form", input=data)
        return int(match[1]), int(match[2])


class PoolListParameters(PageParameters):
    limit = PatternField(help_text="Part of the name, as a regular expression")


class PgsParameters(Parameters):
    pgs = serializers.IntegerField(min_value=1, help_text="Number of placement groups, a power of two")


class PoolModifyParameters(Parameters):
    pgs = serializers.IntegerField(
        required=False, default=None, min_value=1, help_text="New number of placement groups, a power of two"
    )
    replcfg = ReplicationField(required=False, default=None, help_text="New replication, such as copies=3,mincopies=2")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs["pgs"] is None) == (attrs["replcfg"] is None):
            raise serializers.ValidationError("give either pgs or replcfg")
        return attrs


class PoolAddParameters(PgsParameters):
    replcfg = ReplicationField(help_text="Replication, such as copies=3,mincopies=2")
    tier = serializers.CharField(required=False, default="default", help_text="Device class: hdd, ssd, nvme or default")


class PoolCreateParameters(PoolAddParameters):
    pool = serializers.CharField(help_text="Name of the pool")


class VolumeListParameters(PageParameters):
    limit = PatternField(help_text="Part of the name, as a regular expression")
    pool = serializers.CharField(required=False, default=None, help_text="Only volumes of this pool")


class VolumeAddParameters(Parameters):
    size = SizeField(help_text="Size in bytes, or with the suffix k, M, G or T")
    force = FlagField(default=False, help_text="Also where the pool would become more than 80 % full")


class VolumeCreateParameters(VolumeAddParameters):
    volume = serializers.CharField(source="name", help_text="Name of the volume")
    pool = serializers.CharField(help_text="Name of its pool")


class VolumeModifyParameters(Parameters):
    new_size = SizeField(required=False, default=None, help_text="New size, larger than the present one")
    new_name = serializers.CharField(required=False, default=None, help_text="New name")
    force = FlagField(default=False, help_text="Also where the pool would become more than 80 % full")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs["new_size"] is None) == (attrs["new_name"] is None):
            raise serializers.ValidationError("give either new_size or new_name")
        return attrs


class VolumeCloneParameters(Parameters):
    new_volume = serializers.CharField(source="new_name", help_text="Name of the copy")
    force = FlagField(default=False, help_text="Also where the pool would become more than 80 % full")


class SnapshotListParameters(PageParameters):
    limit = PatternField(help_text="Part of the snapshot's name, as a regular expression")
    pool = serializers.CharField(required=False, default=None, help_text="Only snapshots in this pool")
    volume = serializers.CharField(required=False, default=None, help_text="Only snapshots of volumes of this name")


class SnapshotAddParameters(Parameters):
    force = FlagField(default=False, help_text="Also where the pool is more than 80 % full")


class SnapshotCreateParameters(SnapshotAddParameters):
    pool = serializers.CharField(help_text="Name of the pool")
    volume = serializers.CharField(help_text="Name of the volume")
    snapshot = serializers.CharField(help_text="Name of the snapshot")


class SnapshotModifyParameters(Parameters):
    new_name = serializers.CharField(required=False, default=None, help_text="New name")
    protected = FlagField(required=False, default=None, help_text="Whether it is kept from being removed")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs["new_name"] is None) == (attrs["protected"] is None):
            raise serializers.ValidationError("give either new_name or protected")
        return attrs


class VolumeUploadParameters(Parameters):
    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        """From the query alone where that says what comes, so that the body is left for the view to read."""
        if "image_format" in request.query_params:
            return cls.check(request.query_params)
        return super().read(request)

    image_format = serializers.ChoiceField(choices=IMAGE_FORMATS, help_text="Format of the image file")
    file_size = serializers.IntegerField(
        required=False, default=None, min_value=1, help_text="Size of the image file in bytes; refused where it differs"
    )
