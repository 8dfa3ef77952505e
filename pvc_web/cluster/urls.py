"""Paths of the cluster as a whole."""

from django.urls import path

from pvc_web.cluster import views

urlpatterns = [
    path("", views.Root.as_view()),
    path("backup", views.Backup.as_view()),
    path("restore", views.Restore.as_view()),
    path("initialize", views.Initialize.as_view()),
    path("status", views.Status.as_view()),
    path("status/primary_node", views.Primary.as_view()),
]
