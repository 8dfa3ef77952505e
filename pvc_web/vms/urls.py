"""Paths of machines."""

from django.urls import path

from pvc_web.vms import actions, views

urlpatterns = [
    path("vm", views.VmList.as_view()),
    path("vm/<str:vm>", views.VmDetail.as_view()),
    path("vm/<str:vm>/state", actions.VmStateView.as_view()),
    path("vm/<str:vm>/node", actions.VmNodeView.as_view()),
    path("vm/<str:vm>/meta", actions.VmMetadataView.as_view()),
    path("vm/<str:vm>/tags", actions.VmTagsView.as_view()),
    path("vm/<str:vm>/rename", actions.VmRenameView.as_view()),
    path("vm/<str:vm>/console", actions.VmConsoleView.as_view()),
    path("vm/<str:vm>/device", actions.VmDeviceView.as_view()),
    path("vm/<str:vm>/locks", actions.VmLocksView.as_view()),
]
