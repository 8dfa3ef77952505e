"""Paths of machines."""

from django.urls import path

from pvc_web.vms import actions, exports, mirrors, receive, snapshots, transfers, views

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
    path("vm/<str:vm>/snapshot/send", transfers.VmSnapshotSendView.as_view()),
    path("vm/<str:vm>/snapshot/receive/block", receive.ReceiveBlock.as_view()),
    path("vm/<str:vm>/snapshot/receive/config", receive.ReceiveConfig.as_view()),
    path("vm/<str:vm>/transfer", transfers.TransferList.as_view()),
    path("vm/<str:vm>/transfer/<str:snapshot>", transfers.TransferDetail.as_view()),
    path("vm/<str:vm>/transfer/<str:snapshot>/<str:pool>/<str:volume>", transfers.TransferVolume.as_view()),
    path("vm/<str:vm>/locks", actions.VmLocksView.as_view()),
    path("vm/<str:vm>/snapshot", snapshots.VmSnapshotsView.as_view()),
    path("vm/<str:vm>/snapshot/rollback", snapshots.VmSnapshotRollbackView.as_view()),
    path("vm/<str:vm>/snapshot/export", exports.VmSnapshotExportView.as_view()),
    path("vm/<str:vm>/snapshot/import", exports.VmSnapshotImportView.as_view()),
    path("mirrors", mirrors.MirrorsView.as_view()),
    path("vm/<str:vm>/mirror", mirrors.VmMirrorView.as_view()),
    path("vm/<str:vm>/mirror/create", mirrors.VmMirrorCreateView.as_view()),
    path("vm/<str:vm>/mirror/promote", mirrors.VmMirrorPromoteView.as_view()),
    path("vm/<str:vm>/mirror/resync", mirrors.VmMirrorResyncView.as_view()),
    path("vm/<str:vm>/mirror/take-back", mirrors.VmMirrorTakeBackView.as_view()),
    path("vm/<str:vm>/mirror/take-over", mirrors.VmMirrorTakeOverView.as_view()),
    path("vm/<str:vm>/backup", exports.VmBackupView.as_view()),
    path("vm/<str:vm>/restore", exports.VmRestoreView.as_view()),
]
