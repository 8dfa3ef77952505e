"""``python process.py control|bulk|beat``: a worker with fake drivers, or the beat; they know the tests' operations."""

import os
import sys

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "pvc_web.config.settings"
django.setup()

import tests.services.probes  # noqa: E402, F401  (registers them)
from pvc_core.drivers.clock import SystemClock  # noqa: E402
from pvc_core.fakes.benchmark import FakeBench, FakeResults  # noqa: E402
from pvc_core.fakes.blocks import FakeBlocks  # noqa: E402
from pvc_core.fakes.commands import FakeCommands  # noqa: E402
from pvc_core.fakes.hypervisor import FakeHypervisor  # noqa: E402
from pvc_core.fakes.network import FakeNetwork  # noqa: E402
from pvc_core.fakes.osds import FakeOsdMap, FakeOsds  # noqa: E402
from pvc_core.fakes.peers import FakePeers  # noqa: E402
from pvc_core.fakes.schedules import FakeReports, FakeSchedules  # noqa: E402
from pvc_core.fakes.targets import FakeTargets  # noqa: E402
from pvc_core.model.task import Lane  # noqa: E402
from pvc_core.ops.base import Tools  # noqa: E402
from pvc_tasks import beat  # noqa: E402
from pvc_tasks.worker import serve  # noqa: E402
from pvc_web.config import cluster  # noqa: E402


def make_tools() -> Tools:
    return Tools(
        config=cluster.config(),
        state=cluster.state(),
        view=cluster.view(),
        clock=SystemClock(),
        blocks=FakeBlocks(),
        hypervisor=FakeHypervisor(),
        network=FakeNetwork(),
        osds=FakeOsds(),
        osd_map=FakeOsdMap(),
        bench=FakeBench(),
        benchmarks=FakeResults(),
        peers=FakePeers(),
        targets=FakeTargets(),
        schedules=FakeSchedules(),
        reports=FakeReports(),
        commands=FakeCommands(),
    )


name = sys.argv[1]
sys.exit(beat.main() if name == "beat" else serve(cluster.config(), Lane(name), make_tools))
