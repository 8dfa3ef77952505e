"""A cluster in memory, and one node of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.node.harness import LabCluster, LabNode


@pytest.fixture
def lab() -> LabCluster:
    return LabCluster()


@pytest.fixture
def n1(lab: LabCluster) -> LabNode:
    return lab.start_node("n1")


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """The messages that contain a text, so far."""
    caplog.set_level("DEBUG")
    return lambda text: [message for message in caplog.messages if text in message]
