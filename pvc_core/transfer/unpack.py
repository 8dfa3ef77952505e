"""``python -m pvc_core.transfer.unpack``: a disk out of an exported snapshot, where there is no cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pvc_core.drivers.targets.directory import DirectoryTarget
from pvc_core.errors import BadRequest, PvcError
from pvc_core.transfer.backup import MANIFEST, chain, disk_frames, files_of
from pvc_core.transfer.encryption import read_identity_file


def unpack(directory: Path, disk: str, output: Path, identity_file: str = "") -> None:
    """Write a disk as it was at an export into a new sparse raw file, following the export's parents, which lie beside
    it, and checking all that is read. Nothing is left when that fails. Raises PvcError, OSError."""
    if not (directory / MANIFEST).exists():
        raise BadRequest(f"{directory} has no {MANIFEST}: it is no export, or not a whole one")
    target = DirectoryTarget(str(directory.parent.absolute()))
    links = chain(target, f"{directory.absolute().name}/")
    files = files_of(links, disk)
    if not files:
        disks = ", ".join(file.volume for file in links[-1].manifest.disks)
        raise BadRequest(f"there is no disk {disk} in it; there are {disks}")
    with output.open("xb") as raw:
        try:
            for number, (link, file) in enumerate(files):
                raw.truncate(file.size)
                keys = (read_identity_file(identity_file),) if identity_file and link.manifest.encrypted else ()
                for frame in disk_frames(target, link.prefix, file, identities=keys):
                    if frame.content is not None or number:  # a new file is zeros already
                        raw.seek(frame.offset)
                        raw.write(frame.content or bytes(frame.length))
        except BaseException:
            output.unlink()
            raise


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pvc_core.transfer.unpack", description=__doc__)
    parser.add_argument("directory", type=Path, help="the export: the directory with its manifest.json")
    parser.add_argument("disk", help="the disk, as pool/volume")
    parser.add_argument("output", type=Path, help="the raw file to make")
    parser.add_argument("--identity", default="", help="file with the age identity of an encrypted export")
    given = parser.parse_args(arguments)
    try:
        unpack(given.directory, given.disk, given.output, given.identity)
    except (PvcError, OSError) as error:
        sys.exit(f"{given.output} is not made: {error}")


if __name__ == "__main__":
    main()
