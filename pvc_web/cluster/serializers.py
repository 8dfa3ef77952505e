"""Arguments of the calls on the cluster as a whole."""

from __future__ import annotations

from rest_framework import serializers

from pvc_web.api.parameters import FlagField, Parameters, SureParameters


class MaintenanceParameters(Parameters):
    state = FlagField(help_text="Whether the cluster is in maintenance")


class RestoreParameters(SureParameters):
    lost = "the present configuration"
    cluster_data = serializers.CharField(help_text="The backup, as it came: JSON as a text")


class InitializeParameters(SureParameters):
    lost = "the present configuration"
    overwrite = FlagField(required=False, default=False, help_text="Erase the configuration where there is one")
