"""What measurements of pools have come to."""

from __future__ import annotations

from django.db import models


class BenchmarkRun(models.Model):
    """One run of the benchmark. ``result`` is ``pvc_core.model.benchmark.BenchmarkResult`` as JSON, in the format of
    that number."""

    job = models.CharField(max_length=100, unique=True)
    pool = models.CharField(max_length=100)
    test_format = models.PositiveSmallIntegerField()
    result = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.job
