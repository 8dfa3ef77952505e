"""How fast the API answers, with a thousand machines and with ten thousand."""

from __future__ import annotations

import http.client
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier

from benchmarks import limit, synthetic, web
from benchmarks.figures import Figure, Goal, from_samples
from benchmarks.web import Client, Site
from lab.local import LocalServices

CLIENTS = 8
LOAD_SECONDS = 5.0
HEAP_MIB = 1024  # ZooKeeper holds 150 MB of records for ten thousand machines, and copies of what is in flight


@dataclass(frozen=True)
class Question:
    """A request, how often it is asked, and the milliseconds it may take."""

    what: str
    path: str
    times: int
    goal: float | None


def figures() -> Iterator[Figure]:
    yield from _at(1_000, [
        Question("GET /vm, all of 1,000", "/api/v1/vm", 50, 100),
        Question("GET /vm/<name> of 1,000", _one(1_000), 200, 10),
        Question("GET /status at 1,000", "/api/v1/status", 200, 30),
        Question("GET /node at 1,000", "/api/v1/node", 50, None),
        Question("GET /metrics at 1,000", "/api/v1/metrics", 20, 500),
        Question("GET /vm?page_size=100 of 1,000", "/api/v1/vm?page_size=100", 50, None),
    ])  # fmt: skip
    yield from _at(10_000, [
        Question("GET /vm, all of 10,000", "/api/v1/vm", 15, 1000),
        Question("GET /vm/<name> of 10,000", _one(10_000), 200, 10),
        Question("GET /status at 10,000", "/api/v1/status", 50, None),
        Question("GET /vm?page_size=100 of 10,000", "/api/v1/vm?page_size=100", 50, None),
    ])  # fmt: skip


def _one(machines: int) -> str:
    return f"/api/v1/vm/{synthetic.machine_names(machines)[machines // 2]}"


def _at(machines: int, questions: list[Question]) -> Iterator[Figure]:
    with (
        LocalServices(heap_mib=HEAP_MIB) as services,
        synthetic.running(services.zookeeper, machines),
        web.api(services) as site,
    ):
        first = {question.path: web.get(site, question.path) for question in questions}
        whole_list = first["/api/v1/vm"]
        size = f"{len(whole_list.body) / 1e6:.0f} MB"
        yield Figure(f"GET /vm at {machines:,}, a process's first ({size})", "ms", whole_list.first_byte)
        with _limit(services, site, {path: answer.body for path, answer in first.items()}) as least:
            for question in questions:
                yield from _compare(site, least, question)
            for question in questions:
                if question.path in (_one(machines), "/api/v1/vm?page_size=100"):
                    yield from _under_load(site, least, question)


@contextmanager
def _limit(services: LocalServices, site: Site, documents: dict[str, bytes]) -> Iterator[Site]:
    """Serve the same documents from memory, beside the API."""
    directory = services.directory / "documents"
    directory.mkdir()
    for path, body in documents.items():
        limit.store(directory, path, body)
    least = Site(web.free_address(), site.token_file)
    arguments = (
        "-m",
        "gunicorn",
        "-c",
        "python:benchmarks.limit_gunicorn",
        "--bind",
        least.address,
        "benchmarks.limit",
    )
    with web.daemon(services, "limit", *arguments, **{limit.DIRECTORY_VARIABLE: str(directory)}) as process:
        web.await_answer(least, next(iter(documents)), process, services.directory / "limit.log")
        yield least


def _compare(site: Site, least: Site, question: Question) -> Iterator[Figure]:
    """Time to the first byte, which is the server's, and to the last, beside the limit's."""
    answers = [web.get(site, question.path) for _ in range(question.times)]
    limits = [web.get(least, question.path) for _ in range(question.times)]
    goal = None if question.goal is None else Goal(question.goal)
    yield from_samples(
        question.what, "ms", [answer.first_byte for answer in answers], goal, [answer.first_byte for answer in limits]
    )
    yield from_samples(
        "  to the last byte", "ms", [answer.total for answer in answers], None, [answer.total for answer in limits]
    )


def _under_load(site: Site, least: Site, question: Question) -> Iterator[Figure]:
    """Requests a second of eight clients together, against what one alone gets."""
    alone, errors_alone = _rate(site, question.path, 1)
    together, errors = _rate(site, question.path, CLIENTS)
    at_least, _ = _rate(least, question.path, CLIENTS)
    what = f"{question.what}: "
    yield Figure(f"{what}1 client", "1/s", alone)
    yield Figure(f"{what}{CLIENTS} clients together", "1/s", together, None, Goal(alone, at_least=True), at_least)
    yield Figure(f"{what}errors of all", "", errors + errors_alone, None, Goal(0))


def _rate(site: Site, path: str, clients: int) -> tuple[float, int]:
    """Answers a second of so many clients, each a process with its own connection, and how many errors they saw."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(clients), context.Queue()
    processes = [
        context.Process(target=_ask_repeatedly, args=(site, path, barrier, results), daemon=True)
        for _ in range(clients)
    ]
    for process in processes:
        process.start()
    counts = [results.get(timeout=10 * LOAD_SECONDS + 60) for _ in processes]
    for process in processes:
        process.join()
    return sum(done / seconds for done, _, seconds in counts), sum(errors for _, errors, _ in counts)


def _ask_repeatedly(site: Site, path: str, barrier: Barrier, results: Queue[tuple[int, int, float]]) -> None:
    """Puts (answers, errors, seconds) into ``results``."""
    client = Client(site)
    done = errors = 0
    barrier.wait()
    began = time.perf_counter()
    while (elapsed := time.perf_counter() - began) < LOAD_SECONDS:
        try:
            client.get(path)
            done += 1
        except (OSError, http.client.HTTPException, RuntimeError):
            errors += 1
            client.close()
    results.put((done, errors, elapsed))
