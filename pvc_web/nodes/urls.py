"""Paths of nodes."""

from django.urls import path

from pvc_web.nodes import views

urlpatterns = [
    path("node", views.NodeList.as_view()),
    path("node/<str:node>", views.NodeDetail.as_view()),
    path("node/<str:node>/daemon-state", views.NodeDaemonStateView.as_view()),
    path("node/<str:node>/coordinator-state", views.NodeCoordinatorStateView.as_view()),
    path("node/<str:node>/domain-state", views.NodeDomainStateView.as_view()),
    path("node/<str:node>/fence", views.NodeFenceView.as_view()),
    path("node/<str:node>/log", views.NodeLogView.as_view()),
]
