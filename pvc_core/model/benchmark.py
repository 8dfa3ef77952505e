"""Measurements of a pool: what is done, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

FORMAT = 3  # of the stored results; PVC 0.x wrote 0 to 2


@dataclass(frozen=True, slots=True)
class BenchmarkTest:
    """One measurement. ``pattern`` is fio's: read, write, randread or randwrite."""

    name: str
    pattern: str
    block_size: str
    depth: int = 64  # requests under way at a time


@dataclass(frozen=True, slots=True)
class Latency:
    """Microseconds from a request to its end."""

    mean: float = 0.0
    median: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    bandwidth: float  # bytes a second
    iops: float
    latency: Latency
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """How busy a node was meanwhile, with all else that it does."""

    cpu_mean: float = 0.0  # per cent of all its processors
    cpu_max: float = 0.0
    memory_max: int = 0  # MiB in use
    received: float = 0.0  # bytes a second over all interfaces
    sent: float = 0.0
    samples: int = 0


@dataclass(frozen=True, slots=True)
class TestResult:
    test: BenchmarkTest
    figures: Figures
    nodes: dict[str, NodeLoad] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """All of one run, in the order in which it was measured."""

    pool: str
    node: str  # where fio ran
    started: float  # seconds since the epoch
    size: int  # bytes of the volume
    seconds: int  # of each measurement
    tests: tuple[TestResult, ...] = ()


TESTS = (
    BenchmarkTest("seq_read", "read", "4M"),
    BenchmarkTest("seq_write", "write", "4M"),
    BenchmarkTest("rand_read_4M", "randread", "4M"),
    BenchmarkTest("rand_write_4M", "randwrite", "4M"),
    BenchmarkTest("rand_read_256K", "randread", "256K"),
    BenchmarkTest("rand_write_256K", "randwrite", "256K"),
    BenchmarkTest("rand_read_4K", "randread", "4K"),
    BenchmarkTest("rand_write_4K", "randwrite", "4K"),
    BenchmarkTest("rand_read_4K_lowdepth", "randread", "4K", 1),
    BenchmarkTest("rand_write_4K_lowdepth", "randwrite", "4K", 1),
)
