"""Paths of tasks."""

from django.urls import path

from pvc_web.tasks import views

urlpatterns = [
    path("tasks", views.TaskList.as_view()),
    path("tasks/<str:task>", views.TaskDetail.as_view()),
]
