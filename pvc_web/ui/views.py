"""The frame of each page. What is in it comes from the REST API, asked by the browser with the user's own session."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LoginView
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.generic import TemplateView

from pvc_core.model.task import Role

# Scripts, styles and data come from this server alone, and nothing within a page is a script.
CONTENT_POLICY = "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"


class Guarded:
    """Sends the content policy with every answer of the view."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase = super().dispatch(request, *args, **kwargs)  # type: ignore[misc]
        response.headers["Content-Security-Policy"] = CONTENT_POLICY
        return response


class Login(Guarded, LoginView):
    template_name = "ui/login.html"
    redirect_authenticated_user = True


class Page(Guarded, LoginRequiredMixin, TemplateView):
    """``page`` names the template and the part of the script that fills it."""

    page = ""
    title = ""

    def get_template_names(self) -> list[str]:
        return [f"ui/{self.page}.html"]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = self.request.user
        rights = {
            "may_operate": user.may(Role.OPERATOR),  # type: ignore[union-attr]
            "may_administer": user.may(Role.ADMINISTRATOR),  # type: ignore[union-attr]
        }
        return super().get_context_data(page=self.page, title=self.title, **rights, **kwargs)


class MachinePage(Page):
    page = "machine"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"title": self.kwargs["machine"]}
