"""Views of nodes."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from pvc_core.errors import NotFound
from pvc_core.model.node import CoordinatorState, DomainState
from pvc_core.model.snapshot import ClusterSnapshot, NodeEntry
from pvc_core.ops.fence import NodeFenceConfirm
from pvc_core.ops.node import NodeFlush, NodeReady
from pvc_core.ops.primary import NodePrimary, NodeSecondary
from pvc_web.api import logs
from pvc_web.api.answers import json_answer, page_answer
from pvc_web.api.endpoints import ApiView, reads, writes
from pvc_web.api.filters import matches
from pvc_web.api.lookup import find
from pvc_web.api.work import respond
from pvc_web.config import cluster
from pvc_web.nodes.documents import (
    NodeCoordinatorState,
    NodeDaemonState,
    NodeDocument,
    NodeDomainState,
    NodeFence,
    NodeLog,
    fence_document,
    node_document,
)
from pvc_web.nodes.lookup import find_node
from pvc_web.nodes.serializers import (
    CoordinatorStateParameters,
    DomainStateParameters,
    FenceParameters,
    LogParameters,
    NodeListParameters,
)
from pvc_web.vms.specs import usage_by_node


def _wanted(snapshot: ClusterSnapshot, entry: NodeEntry, parameters: dict[str, Any]) -> bool:
    name = entry.node.name
    return (
        matches(parameters["limit"], (name,))
        and parameters["daemon_state"] in (None, entry.daemon_state)
        and parameters["coordinator_state"] in (None, snapshot.coordinator_state(name))
        and parameters["domain_state"] in (None, entry.node.domain_state)
    )


class NodeList(ApiView):
    @reads(list[NodeDocument], "All nodes", takes=NodeListParameters)
    def get(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        snapshot = cluster.view().snapshot()
        usage = usage_by_node(snapshot)
        entries = [entry for entry in snapshot.nodes.values() if _wanted(snapshot, entry, parameters)]
        return page_answer(entries, parameters, lambda entry: node_document(snapshot, entry, usage))


class NodeDetail(ApiView):
    @reads(NodeDocument, "One node")
    def get(self, request: Request, node: str) -> HttpResponse:
        snapshot, entry = find(find_node(node))
        return json_answer(node_document(snapshot, entry, usage_by_node(snapshot)))


class NodeDaemonStateView(ApiView):
    @reads(NodeDaemonState, "Whether a node's daemon runs")
    def get(self, request: Request, node: str) -> HttpResponse:
        _, entry = find(find_node(node))
        return json_answer(NodeDaemonState(name=node, daemon_state=entry.daemon_state))


class NodeCoordinatorStateView(ApiView):
    @reads(NodeCoordinatorState, "Whether a node is primary")
    def get(self, request: Request, node: str) -> HttpResponse:
        snapshot, _ = find(find_node(node))
        return json_answer(NodeCoordinatorState(name=node, coordinator_state=snapshot.coordinator_state(node)))

    @writes(NodePrimary, NodeSecondary, summary="Make a node primary or not", takes=CoordinatorStateParameters)
    def post(self, request: Request, node: str, parameters: dict[str, Any]) -> HttpResponse:
        find(find_node(node))
        operation = NodePrimary if parameters["action"] is CoordinatorState.PRIMARY else NodeSecondary
        return respond(request, operation(node), wait=parameters["wait"])


class NodeDomainStateView(ApiView):
    @reads(NodeDomainState, "Whether a node takes machines")
    def get(self, request: Request, node: str) -> HttpResponse:
        _, entry = find(find_node(node))
        return json_answer(NodeDomainState(name=node, domain_state=entry.node.domain_state))

    @writes(NodeFlush, NodeReady, summary="Move a node's machines away, or back", takes=DomainStateParameters)
    def post(self, request: Request, node: str, parameters: dict[str, Any]) -> HttpResponse:
        find(find_node(node))
        flush = parameters["action"] is DomainState.FLUSH
        operation = NodeFlush(node) if flush else NodeReady(node, parameters["stay"])
        return respond(request, operation, wait=parameters["wait"])


class NodeFenceView(ApiView):
    @reads(NodeFence, "How far the fence of a node has come")
    def get(self, request: Request, node: str) -> HttpResponse:
        _, entry = find(find_node(node))
        if entry.fence is None:
            raise NotFound(f"node {node} is not fenced; it is {entry.daemon_state}")
        return json_answer(fence_document(entry.fence))

    @writes(NodeFenceConfirm, summary="Confirm by hand that a dead node is off", takes=FenceParameters)
    def post(self, request: Request, node: str, parameters: dict[str, Any]) -> HttpResponse:
        find(find_node(node))
        return respond(request, NodeFenceConfirm(node), wait=parameters["wait"])


class NodeLogView(ApiView):
    @reads(NodeLog, "The newest lines of a node's log", takes=LogParameters)
    def get(self, request: Request, node: str, parameters: dict[str, Any]) -> HttpResponse:
        _, entry = find(find_node(node))
        lines = logs.fetch(cluster.config(), entry.node, "/log", parameters["lines"])
        return json_answer(NodeLog(name=node, data=logs.text(lines)))
