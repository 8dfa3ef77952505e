"""``python -m benchmarks [PART...]``: measures, prints one table, and exits with 0 when everything ran."""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback

import click

from benchmarks.figures import Figure, print_table

PARTS = ("api", "tasks", "cli", "node", "placement", "export", "shipping", "snapshots", "lab")
LONG = ("mirror",)  # half an hour each: measured when named


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS + LONG))
@click.option("--with-demo", is_flag=True, help="In the part lab: also time the whole demo, which takes minutes.")
def main(parts: tuple[str, ...], with_demo: bool) -> None:
    """Measure PARTS, or all but the half an hour of ``mirror``. A goal that is missed is shown and ends nothing."""
    load = f"{os.getloadavg()[0]:.1f}"
    print(f"{os.cpu_count()} cores; load before the start: {load} (figures are good when it is well below 1)")
    figures: list[Figure] = []
    broken = []
    for part in parts or PARTS:
        began = time.monotonic()
        print(f"{part} ...", end=" ", flush=True)
        arguments = {"with_demo": with_demo} if part == "lab" else {}
        try:
            figures += importlib.import_module(f"benchmarks.{part}").figures(**arguments)
        except Exception:  # noqa: BLE001 - one part that does not run must not hide the figures of the others
            broken.append(part)
            traceback.print_exc()
        print(f"{time.monotonic() - began:.0f} s", flush=True)
    print_table(figures)
    if broken:
        sys.exit(f"did not run to its end: {', '.join(broken)}")


if __name__ == "__main__":
    main()
