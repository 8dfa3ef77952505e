"""The admin's page of other clusters: their tokens are written through the API only, and shown nowhere."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from pvc_web.peers.models import Peer


@admin.register(Peer)
class PeerAdmin(admin.ModelAdmin):
    list_display = ("name", "api_uri", "verify_ssl", "pool", "bandwidth")
    fields = list_display
    readonly_fields = ("name",)  # mirrors and schedules go by it

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Peer | None = None) -> bool:
        return False  # the API refuses it while a machine is mirrored there
