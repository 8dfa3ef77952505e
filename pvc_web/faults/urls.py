"""Paths of faults."""

from django.urls import path

from pvc_web.faults import views

urlpatterns = [
    path("faults", views.FaultList.as_view()),
    path("faults/<str:fault>", views.FaultDetail.as_view()),
]
