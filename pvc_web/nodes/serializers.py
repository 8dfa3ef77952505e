"""Arguments of the calls on nodes."""

from __future__ import annotations

from rest_framework import serializers

from pvc_core.model.node import CoordinatorState, DaemonState, DomainState
from pvc_web.api.parameters import EnumField, FlagField, PageParameters, Parameters, PatternField


class NodeListParameters(PageParameters):
    limit = PatternField(help_text="Part of the name, as a regular expression")
    daemon_state = EnumField(DaemonState, required=False, default=None, help_text="Only nodes in this daemon state")
    coordinator_state = EnumField(
        CoordinatorState, required=False, default=None, help_text="Only nodes in this coordinator state"
    )
    domain_state = EnumField(DomainState, required=False, default=None, help_text="Only nodes in this domain state")


class CoordinatorStateParameters(Parameters):
    action = EnumField(
        CoordinatorState,
        only=(CoordinatorState.PRIMARY, CoordinatorState.SECONDARY),
        help_text="What the node becomes",
    )
    wait = FlagField(default=False, help_text="Answer when it has become that")


class DomainStateParameters(Parameters):
    action = EnumField(
        DomainState, only=(DomainState.FLUSH, DomainState.READY), help_text="Move all machines away, or back"
    )
    stay = FlagField(default=False, help_text="For ready: leave the machines where they are")
    wait = FlagField(default=False, help_text="Answer when the machines have moved")


class FenceParameters(Parameters):
    action = serializers.ChoiceField(
        choices=("confirm",),
        help_text="confirm: the node is off by the caller's word, and its machines start elsewhere",
    )
    wait = FlagField(default=False, help_text="Answer when that is written")


class LogParameters(Parameters):
    lines = serializers.IntegerField(
        min_value=1, max_value=100_000, default=1000, help_text="The most lines to answer with: the newest ones"
    )
