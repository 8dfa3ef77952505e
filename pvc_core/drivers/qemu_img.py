"""Copies between image files and RBD images by ``qemu-img convert``, which knows the formats and keeps holes."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pvc_core.errors import BadRequest, Cancelled, DriverError

FORMATS = frozenset({"raw", "qcow2", "vmdk", "vdi", "vpc", "qed"})
CANCEL_INTERVAL = 0.2  # seconds between two looks at cancellation while nothing else happens
INSPECT_LIMITS = ("prlimit", "--cpu=30", f"--as={2 * 1024**3}")  # a hostile image must not eat the node
COPIES = 8  # requests under way at a time

_PERCENT = re.compile(rb"\(([0-9.]+)/100%\)")


def options(driver: str, **values: str) -> str:
    """A block device in QEMU's notation ``driver=...,key=value``; commas in values are doubled."""
    return ",".join(f"{key}={value.replace(',', ',,')}" for key, value in {"driver": driver, **values}.items())


def file_options(path: Path, image_format: str) -> str:
    return options(image_format, **{"file.driver": "file", "file.filename": str(path)})


def virtual_size(path: Path, image_format: str) -> int:
    """Bytes of the disk in an image file.

    Raises BadRequest when the format is unknown, the file is not of that format, or it refers to other files, whose
    content an uploader could read that way.
    """
    if image_format not in FORMATS:
        raise BadRequest(f"image format {image_format!r} is unknown; known are {', '.join(sorted(FORMATS))}")
    command = ["qemu-img", "info", "--output=json", "--image-opts", file_options(path, image_format)]
    result = subprocess.run([*INSPECT_LIMITS, *command], capture_output=True, text=True, timeout=60, check=False)
    if result.returncode != 0:
        raise BadRequest(f"{path.name} is no {image_format} image: {_last_line(result.stderr)}")
    info = json.loads(result.stdout)
    if other := _other_file(info, path):
        raise BadRequest(f"{path.name} refers to another file ({other}); give an image that stands alone")
    return int(info["virtual-size"])


def convert(
    source: str,
    target: str,
    total: int,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
    environment: Mapping[str, str],
) -> None:
    """Copy all of ``source`` over the beginning of ``target``, which exists; ``progress`` in bytes of ``total``.

    Raises Cancelled with part of the target written, or DriverError. The copy ends with the thread that called this.
    """
    command = ["qemu-img", "convert", "-n", "-p", "-W", "-m", str(COPIES)]
    command += ["--image-opts", "--target-image-opts", source, target]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=dict(environment),
        )
        try:
            _follow(process, total, progress, cancelled)
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        if process.returncode != 0:
            errors.seek(0)
            raise DriverError(f"qemu-img: {_last_line(errors.read().decode(errors='replace'))}")
    progress(total, total)


def _follow(
    process: subprocess.Popen[bytes], total: int, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
) -> None:
    """Report what the process prints until it ends."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    shown = -1
    while True:
        if cancelled():
            raise Cancelled("the copy was cancelled")
        if not select.select([descriptor], [], [], CANCEL_INTERVAL)[0]:
            continue
        output = os.read(descriptor, 65536)
        if not output:
            process.wait()
            return
        percents = _PERCENT.findall(output)
        if percents and (done := int(float(percents[-1]) * total / 100)) != shown:
            shown = done
            progress(done, total)


def _other_file(info: Mapping[str, Any], path: Path) -> str | None:
    if backing := info.get("backing-filename"):
        return str(backing)
    data = info.get("format-specific", {}).get("data", {})
    if external := data.get("data-file"):
        return str(external)
    extents = (str(extent.get("filename", path)) for extent in data.get("extents", ()))
    return next((name for name in extents if Path(name) != path), None)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].removeprefix("qemu-img: ") if lines else "it gave no reason"
