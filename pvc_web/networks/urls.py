"""Paths of networks."""

from django.urls import path

from pvc_web.networks import views

urlpatterns = [
    path("network", views.NetworkList.as_view()),
    path("network/<str:vni>", views.NetworkDetail.as_view()),
]
