"""Addresses of the page."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from pvc_web.ui import views

app_name = "ui"

urlpatterns = [
    path("login", views.Login.as_view(), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("overview", views.Page.as_view(page="overview", title="Overview"), name="overview"),
    path("nodes", views.Page.as_view(page="nodes", title="Nodes"), name="nodes"),
    path("machines", views.Page.as_view(page="machines", title="Machines"), name="machines"),
    path("machines/<str:machine>", views.MachinePage.as_view(), name="machine"),
    path("storage", views.Page.as_view(page="storage", title="Storage"), name="storage"),
    path("networks", views.Page.as_view(page="networks", title="Networks"), name="networks"),
    path("copies", views.Page.as_view(page="copies", title="Backups and mirrors"), name="copies"),
    path("tasks", views.Page.as_view(page="tasks", title="Tasks"), name="tasks"),
]
