"""Every address of the web server: the page for people, the API of each app below ``/api/v1``, and the admin."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

# The schedules come before the machines, one of which ``vm/autobackup`` would be otherwise.
API_APPS = (
    "api", "accounts", "tasks", "cluster", "faults", "metrics", "nodes", "peers", "schedules", "vms", "networks",
    "storage",
)  # fmt: skip

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="ui:overview")),
    path("ui/", include("pvc_web.ui.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", include([path("", include(f"pvc_web.{app}.urls")) for app in API_APPS])),
]

handler404 = "pvc_web.api.errors.unknown_path"
handler500 = "pvc_web.api.errors.broken"
