"""The admin's pages of schedules, targets and restore tests."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError

from pvc_web.schedules.models import BackupSchedule, BackupTarget, MirrorSchedule, RestoreTestResult
from pvc_web.tasks.admin import ReadOnlyAdmin


class TargetForm(forms.ModelForm):
    """Credentials are written here, and never shown."""

    new_credentials = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"autocomplete": "off"}),
        help_text='JSON, such as {"access_key": "...", "secret_key": "..."} for S3, or {"password": "...", '
        '"host_key": "..."} for SFTP. Empty: they stay as they are.',
    )

    class Meta:
        model = BackupTarget
        fields = ("name", "uri")

    def clean_new_credentials(self) -> dict[str, str] | None:
        text = self.cleaned_data["new_credentials"]
        try:
            credentials = json.loads(text) if text else None
        except ValueError:
            raise ValidationError("this is no JSON") from None
        if credentials is not None and not isinstance(credentials, dict):
            raise ValidationError("this is no JSON object")
        return credentials

    def _post_clean(self) -> None:
        if self.cleaned_data.get("new_credentials") is not None:
            self.instance.credentials = self.cleaned_data["new_credentials"]
        super()._post_clean()


@admin.register(BackupTarget)
class BackupTargetAdmin(admin.ModelAdmin):
    form = TargetForm
    list_display = ("name", "uri")


class ScheduleForm(forms.ModelForm):
    """The web hook is written here, and never shown."""

    new_web_hook = forms.URLField(required=False, help_text="Empty: it stays as it is.", assume_scheme="https")

    def _post_clean(self) -> None:
        if self.cleaned_data.get("new_web_hook"):
            self.instance.web_hook = self.cleaned_data["new_web_hook"]
        super()._post_clean()


class ScheduleAdmin(admin.ModelAdmin):
    form = ScheduleForm
    exclude = ("web_hook",)
    list_filter = ("enabled",)
    search_fields = ("name",)

    def delete_queryset(self, request: Any, queryset: Any) -> None:
        for schedule in queryset:  # each takes its periodic tasks with it
            schedule.delete()


@admin.register(BackupSchedule)
class BackupScheduleAdmin(ScheduleAdmin):
    list_display = ("name", "enabled", "when", "target", "keep", "full_interval", "verify", "test_when")


@admin.register(MirrorSchedule)
class MirrorScheduleAdmin(ScheduleAdmin):
    list_display = ("name", "enabled", "when", "peer", "keep", "peer_keep", "goal")


@admin.register(RestoreTestResult)
class RestoreTestResultAdmin(ReadOnlyAdmin):
    list_display = ("at", "schedule", "vm", "backup", "passed", "seconds", "message")
    list_filter = ("passed", "schedule", "vm")
    date_hierarchy = "at"
