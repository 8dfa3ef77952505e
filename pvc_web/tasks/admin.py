"""The admin's pages of tasks and of the audit: to read, not to write."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from pvc_web.tasks.models import Audit, Task


class ReadOnlyAdmin(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_staff)


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin):
    list_display = ("created", "operation", "subject", "state", "run_on", "requested_by", "message")
    list_filter = ("state", "operation", "node")
    search_fields = ("=id", "subject", "message")
    exclude = ("arguments", "claim")  # arguments may hold secrets; the audit has them without
    date_hierarchy = "created"
    list_select_related = ("requested_by",)


@admin.register(Audit)
class AuditAdmin(ReadOnlyAdmin):
    list_display = ("at", "user", "origin", "action", "subject", "task")
    list_filter = ("action", "user")
    search_fields = ("subject", "user", "origin")
    date_hierarchy = "at"
    list_select_related = ("task",)
