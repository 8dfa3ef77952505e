"""The web server, as gunicorn loads it, with one more call: ``POST /api/v1/probe?path=...`` asks for a probe."""

from __future__ import annotations

from typing import Any

from pvc_web.config.wsgi import application

__all__ = ["application"]

from django.http import HttpResponse
from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request

from pvc_web.api.endpoints import ApiView, writes
from pvc_web.api.parameters import Parameters
from pvc_web.api.work import respond
from pvc_web.config import urls
from tests.services.probes import Probe


class ProbeParameters(Parameters):
    path = serializers.CharField()


class ProbeView(ApiView):
    @writes(Probe, summary="Ask for a probe", takes=ProbeParameters, status=202)
    def post(self, request: Request, *, parameters: dict[str, Any]) -> HttpResponse:
        return respond(request, Probe(parameters["path"]), status=202)


urls.urlpatterns.append(path("api/v1/probe", ProbeView.as_view()))
