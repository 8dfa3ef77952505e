"""Paths of sessions."""

from django.urls import path

from pvc_web.accounts import views

urlpatterns = [
    path("login", views.Login.as_view()),
    path("logout", views.Logout.as_view()),
]
