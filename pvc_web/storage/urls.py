"""Paths of pools and volumes."""

from django.urls import path

from pvc_web.storage import benchmarks, osds, snapshots, upload, views

VOLUME = "storage/ceph/volume/<str:pool>/<str:volume>"
SNAPSHOT = "storage/ceph/snapshot/<str:pool>/<str:volume>/<str:snapshot>"

urlpatterns = [
    path("storage/ceph/status", views.CephStatus.as_view()),
    path("storage/ceph/utilization", views.CephUtilization.as_view()),
    path("storage/ceph/benchmark", benchmarks.BenchmarkList.as_view()),
    path("storage/ceph/option", osds.OsdOption.as_view()),
    path("storage/ceph/osd", osds.OsdList.as_view()),
    path("storage/ceph/osd/<int:osd>", osds.OsdDetail.as_view()),
    path("storage/ceph/osd/<int:osd>/state", osds.OsdState.as_view()),
    path("storage/ceph/osddb", osds.OsdDatabaseGroup.as_view()),
    path("storage/ceph/pool", views.PoolList.as_view()),
    path("storage/ceph/pool/<str:pool>", views.PoolDetail.as_view()),
    path("storage/ceph/volume", views.VolumeList.as_view()),
    path(VOLUME, views.VolumeDetail.as_view()),
    path(f"{VOLUME}/clone", views.VolumeCloneView.as_view()),
    path(f"{VOLUME}/scan", views.VolumeScanView.as_view()),
    path(f"{VOLUME}/upload", upload.VolumeUploadView.as_view()),
    path("storage/ceph/snapshot", snapshots.SnapshotList.as_view()),
    path(SNAPSHOT, snapshots.SnapshotDetail.as_view()),
    path(f"{SNAPSHOT}/rollback", snapshots.SnapshotRollback.as_view()),
]
