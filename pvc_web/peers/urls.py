"""Paths of other clusters."""

from django.urls import path

from pvc_web.peers import views

urlpatterns = [
    path("peers", views.PeerList.as_view()),
    path("peers/<str:peer>", views.PeerDetail.as_view()),
]
