"""Paths of the API's own description."""

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.permissions import AllowAny

from pvc_web.api import openapi  # noqa: F401  (registers what the document says of credentials)

# What the API can do is no secret of the installation: the page is open, and what it calls is not.
_OPEN = {"permission_classes": (AllowAny,), "authentication_classes": ()}

urlpatterns = [
    path("schema", SpectacularAPIView.as_view(**_OPEN), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema", **_OPEN)),
]
