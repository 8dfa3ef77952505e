"""Where the benchmark puts its results."""

from __future__ import annotations

import msgspec
from django.db import IntegrityError, transaction

from pvc_core.errors import Conflict
from pvc_core.model.benchmark import FORMAT, BenchmarkResult
from pvc_web.storage.models import BenchmarkRun


class StoredBenchmarks:
    """See ``pvc_core.ports.BenchmarkResults``."""

    def has(self, job: str) -> bool:
        return BenchmarkRun.objects.filter(job=job).exists()

    def add(self, job: str, result: BenchmarkResult) -> None:
        try:
            with transaction.atomic():
                BenchmarkRun.objects.create(
                    job=job, pool=result.pool, test_format=FORMAT, result=msgspec.to_builtins(result)
                )
        except IntegrityError:
            raise Conflict(f"there is a benchmark {job} already") from None
