"""Arguments of the calls on the cluster as a whole."""

from __future__ import annotations

from pvc_web.api.parameters import FlagField, Parameters


class MaintenanceParameters(Parameters):
    state = FlagField(help_text="Whether the cluster is in maintenance")
