"""Metrics of the cluster, as Prometheus reads them."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connection
from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from rest_framework.request import Request
from rest_framework.views import APIView

from pvc_core.model.node import Addresses
from pvc_web.accounts.authentication import BearerAuthentication, SessionAuthentication, TokenAuthentication
from pvc_web.api.endpoints import ApiView, HasRole, reads
from pvc_web.config import cluster
from pvc_web.metrics import health, nodes, passthrough, records, storage, vms
from pvc_web.metrics.gauges import Gauges

log = logging.getLogger(__name__)


class MayScrape(HasRole):
    """As the installation has it: everyone, as with PVC 1.0, or those who may see the cluster otherwise."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return cluster.config().api.open_metrics or super().has_permission(request, view)


class MetricsView(ApiView):
    authentication_classes = (BearerAuthentication, TokenAuthentication, SessionAuthentication)
    permission_classes = (MayScrape,)


class Metrics(MetricsView):
    @reads(str, "The cluster's health and resources, for Prometheus", media=CONTENT_TYPE)
    def get(self, request: Request) -> HttpResponse:
        return _answer(_health() + _resources())


class HealthMetrics(MetricsView):
    @reads(str, "The cluster's health, for Prometheus", media=CONTENT_TYPE)
    def get(self, request: Request) -> HttpResponse:
        return _answer(_health())


class ResourceMetrics(MetricsView):
    @reads(str, "Nodes, machines and storage, for Prometheus", media=CONTENT_TYPE)
    def get(self, request: Request) -> HttpResponse:
        return _answer(_resources())


class CephMetrics(MetricsView):
    @reads(str, "Ceph's own metrics, of its active manager", media=CONTENT_TYPE)
    def get(self, request: Request) -> HttpResponse:
        return _answer(passthrough.of_ceph(cluster.view().snapshot().storage))


class ZookeeperMetrics(MetricsView):
    @reads(str, "ZooKeeper's own metrics, of the server on this node if it answers", media=CONTENT_TYPE)
    def get(self, request: Request) -> HttpResponse:
        config = cluster.config()
        return _answer(passthrough.of_zookeeper(config.zookeeper, Addresses.host(config.node.addresses.cluster)))


def _health() -> bytes:
    gauges, snapshot = Gauges(health.DECLARED), cluster.view().snapshot()
    health.add_health(gauges, snapshot, cluster.config())
    reachable = _ask_database(lambda: health.add_tasks(gauges, records.task_counts()))
    gauges.add("pvc_database_up", reachable)
    return gauges.text()


def _resources() -> bytes:
    gauges, snapshot = Gauges(nodes.DECLARED, vms.DECLARED, storage.DECLARED), cluster.view().snapshot()
    nodes.add_nodes(gauges, snapshot)
    vms.add_vms(gauges, snapshot)
    storage.add_storage(gauges, snapshot)
    _ask_database(lambda: vms.add_backups(gauges, records.last_backups(snapshot)))
    return gauges.text()


def _ask_database(add: Callable[[], None]) -> bool:
    """Whether it answered. The rest is told without it, most of all while it is down."""
    try:
        add()
        return True
    except (OperationalError, InterfaceError) as error:
        log.error("these metrics lack what the database knows: it does not answer: %s", " ".join(str(error).split()))
        connection.close()
        return False


def _answer(text: bytes) -> HttpResponse:
    return HttpResponse(text, content_type=CONTENT_TYPE)
