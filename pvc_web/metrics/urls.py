"""Paths of metrics."""

from django.urls import path

from pvc_web.metrics import views

urlpatterns = [
    path("metrics", views.Metrics.as_view()),
    path("metrics/health", views.HealthMetrics.as_view()),
    path("metrics/resource", views.ResourceMetrics.as_view()),
    path("metrics/ceph", views.CephMetrics.as_view()),
    path("metrics/zookeeper", views.ZookeeperMetrics.as_view()),
]
