"""Views of benchmarks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from django.http import HttpResponse
from msgspec import Meta
from rest_framework import serializers
from rest_framework.request import Request

from pvc_core.errors import Conflict, NotFound
from pvc_core.ops.benchmark import Benchmark
from pvc_web.api.answers import page_answer
from pvc_web.api.endpoints import ApiView, reads, writes
from pvc_web.api.lookup import find
from pvc_web.api.parameters import PageParameters, Parameters, SizeField
from pvc_web.api.schema import Document
from pvc_web.api.work import respond
from pvc_web.storage.lookup import find_pool
from pvc_web.storage.models import BenchmarkRun


class BenchmarkDocument(Document):
    """What one run of the benchmark has come to."""

    id: str
    job: str
    test_format: int
    benchmark_result: Annotated[dict[str, Any], Meta(description="All figures, of the tests in their order")]


class BenchmarkListParameters(PageParameters):
    job = serializers.CharField(required=False, default=None, help_text="Only the run of this name")


class BenchmarkParameters(Parameters):
    pool = serializers.CharField(help_text="Name of the pool")
    name = serializers.CharField(required=False, default=None, help_text="Name of the run; else the time of its start")
    seconds = serializers.IntegerField(default=60, help_text="How long each of the measurements takes")
    size = SizeField(
        default=8 << 30, help_text="Size of the volume that is made for it; more than caches hold, at best"
    )


class BenchmarkList(ApiView):
    @reads(list[BenchmarkDocument], "Results of benchmarks, the newest first", takes=BenchmarkListParameters)
    def get(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        runs = BenchmarkRun.objects.all()
        if parameters["job"] is not None:
            runs = runs.filter(job=parameters["job"])
            if not runs.exists():
                raise NotFound(f"there is no benchmark {parameters['job']!r}")
        return page_answer(list(runs), parameters, _document)

    @writes(Benchmark, summary="Measure how fast a pool is", takes=BenchmarkParameters, status=202)
    def post(self, request: Request, parameters: dict[str, Any]) -> HttpResponse:
        find(find_pool(parameters["pool"]))
        job = parameters["name"] or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        if BenchmarkRun.objects.filter(job=job).exists():
            raise Conflict(f"there is a benchmark {job} already: choose another name")
        operation = Benchmark(parameters["pool"], job, parameters["seconds"], parameters["size"])
        return respond(request, operation, status=202)


def _document(run: BenchmarkRun) -> BenchmarkDocument:
    return BenchmarkDocument(id=str(run.pk), job=run.job, test_format=run.test_format, benchmark_result=run.result)
