"""Paths of pools and volumes."""

from django.urls import path

from pvc_web.storage import upload, views

VOLUME = "storage/ceph/volume/<str:pool>/<str:volume>"

urlpatterns = [
    path("storage/ceph/status", views.CephStatus.as_view()),
    path("storage/ceph/utilization", views.CephUtilization.as_view()),
    path("storage/ceph/pool", views.PoolList.as_view()),
    path("storage/ceph/pool/<str:pool>", views.PoolDetail.as_view()),
    path("storage/ceph/volume", views.VolumeList.as_view()),
    path(VOLUME, views.VolumeDetail.as_view()),
    path(f"{VOLUME}/clone", views.VolumeCloneView.as_view()),
    path(f"{VOLUME}/scan", views.VolumeScanView.as_view()),
    path(f"{VOLUME}/upload", upload.VolumeUpload.as_view()),
]
