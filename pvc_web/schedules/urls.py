"""Paths of schedules, targets and restore tests."""

from django.urls import path

from pvc_web.schedules import views

urlpatterns = [
    path("schedules/backup", views.BackupScheduleList.as_view()),
    path("schedules/backup/<str:name>", views.BackupScheduleDetail.as_view()),
    path("schedules/backup/<str:name>/preview", views.BackupSchedulePreview.as_view()),
    path("schedules/backup/<str:name>/tests", views.RestoreTestList.as_view()),
    path("schedules/mirror", views.MirrorScheduleList.as_view()),
    path("schedules/mirror/<str:name>", views.MirrorScheduleDetail.as_view()),
    path("schedules/target", views.TargetList.as_view()),
    path("schedules/target/<str:name>", views.TargetDetail.as_view()),
    path("vm/autobackup", views.AutobackupView.as_view()),
    path("vm/automirror", views.AutomirrorView.as_view()),
]
