"""Arguments of the calls on networks."""

from __future__ import annotations

from rest_framework import serializers

from pvc_core.model.network import NetworkType
from pvc_web.api.parameters import EnumField, PageParameters, Parameters, PatternField


class NetworkListParameters(PageParameters):
    limit = PatternField(help_text="Part of the VNI or of the description, as a regular expression")


class NetworkModifyParameters(Parameters):
    description = serializers.CharField(required=False, default=None, help_text="What the network is for")
    mtu = serializers.IntegerField(required=False, default=None, help_text="MTU; the interface's own unless given")


class NetworkAddParameters(Parameters):
    description = serializers.CharField(help_text="What the network is for")
    nettype = EnumField(NetworkType, source="type", help_text="Kind of network")
    mtu = serializers.IntegerField(required=False, default=None, help_text="MTU; the interface's own unless given")


class NetworkCreateParameters(NetworkAddParameters):
    vni = serializers.IntegerField(help_text="VLAN id of a bridged network")
