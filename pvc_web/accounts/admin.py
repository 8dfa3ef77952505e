"""The admin's pages of users and tokens."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from pvc_web.accounts.models import Token, TokenText, User

admin.site.site_title = admin.site.site_header = "Parallel Virtual Cluster"
admin.site.unregister(Group)  # rights come with a user's role


class CreationForm(AdminUserCreationForm):
    class Meta:
        model = User
        fields = ("username", "role")


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    add_form = CreationForm
    list_display = ("username", "role", "is_active", "last_login")
    list_filter = ("role", "is_active")
    search_fields = ("username",)
    ordering = ("username",)
    filter_horizontal = ()
    readonly_fields = ("last_login", "created")
    fieldsets = ((None, {"fields": ("username", "password", "role", "is_active", "last_login", "created")}),)
    add_fieldsets = ((None, {"fields": ("username", "role", "usable_password", "password1", "password2")}),)


@admin.register(Token)
class TokenAdmin(admin.ModelAdmin):
    """A token is made and revoked, never changed. Its text is shown once, on the page that answers its making."""

    list_display = ("name", "user", "identifier", "created", "expires", "revoked", "last_used")
    list_filter = ("user",)
    search_fields = ("name", "identifier", "user__username")
    fields = ("user", "name", "expires")
    actions = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        return request.user.is_staff

    def save_model(self, request: HttpRequest, obj: Token, form: forms.ModelForm, change: bool) -> None:
        text = TokenText.fresh()
        obj.identifier, obj.hash = text.identifier, text.hash
        super().save_model(request, obj, form, change)
        request.token_text = str(text)  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: Token, post_url_continue: str | None = None) -> HttpResponse:
        context: dict[str, Any] = self.admin_site.each_context(request) | {
            "title": "New token",
            "token": obj,
            "text": request.token_text,  # type: ignore[attr-defined]
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/accounts/token/created.html", context)

    @admin.action(description="Revoke the chosen tokens, for good")
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        for token in queryset:
            token.revoke()
            self.log_change(request, token, "Revoked.")
