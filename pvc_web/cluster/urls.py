"""Paths of the cluster as a whole."""

from django.urls import path

from pvc_web.cluster import views

urlpatterns = [
    path("", views.Root.as_view()),
    path("status", views.Status.as_view()),
    path("status/primary_node", views.Primary.as_view()),
]
