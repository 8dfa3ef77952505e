"""What Ceph knows of one image, and of its snapshots."""

from __future__ import annotations

from datetime import UTC, datetime

import rbd

from pvc_core.model.storage import ImageSnapshot, Volume

MOMENT_PREFIX = "pvc-copy-"  # of the names of snapshots that live as long as a copy

# Names as ``rbd info`` shows them.
FEATURES = {
    rbd.RBD_FEATURE_LAYERING: "layering",
    rbd.RBD_FEATURE_STRIPINGV2: "striping",
    rbd.RBD_FEATURE_EXCLUSIVE_LOCK: "exclusive-lock",
    rbd.RBD_FEATURE_OBJECT_MAP: "object-map",
    rbd.RBD_FEATURE_FAST_DIFF: "fast-diff",
    rbd.RBD_FEATURE_DEEP_FLATTEN: "deep-flatten",
    rbd.RBD_FEATURE_JOURNALING: "journaling",
    rbd.RBD_FEATURE_DATA_POOL: "data-pool",
    rbd.RBD_FEATURE_OPERATIONS: "operations",
    rbd.RBD_FEATURE_MIGRATING: "migrating",
    rbd.RBD_FEATURE_NON_PRIMARY: "non-primary",
}
OPERATION_FEATURES = {
    rbd.RBD_OPERATION_FEATURE_CLONE_PARENT: "clone-parent",
    rbd.RBD_OPERATION_FEATURE_CLONE_CHILD: "clone-child",
    rbd.RBD_OPERATION_FEATURE_GROUP: "group",
    rbd.RBD_OPERATION_FEATURE_SNAP_TRASH: "snap-trash",
}
FLAGS = {
    rbd.RBD_FLAG_OBJECT_MAP_INVALID: "object map invalid",
    rbd.RBD_FLAG_FAST_DIFF_INVALID: "fast diff invalid",
}


def describe(pool: str, name: str, image: rbd.Image) -> Volume:
    stat = image.stat()
    return Volume(
        pool=pool,
        name=name,
        size=stat["size"],
        id=image.id(),
        object_size=stat["obj_size"],
        order=stat["order"],
        block_name_prefix=stat["block_name_prefix"],
        features=_names(FEATURES, image.features()),
        flags=_names(FLAGS, image.flags()),
        op_features=_names(OPERATION_FEATURES, image.op_features()),
        snapshots=_snapshots(image),
        create_timestamp=_date(image.create_timestamp()),
        access_timestamp=_date(image.access_timestamp()),
        modify_timestamp=_date(image.modify_timestamp()),
    )


def _snapshots(image: rbd.Image) -> tuple[ImageSnapshot, ...]:
    found = sorted(image.list_snaps(), key=lambda snapshot: int(snapshot["id"]))
    return tuple(
        ImageSnapshot(
            name=snapshot["name"],
            size=snapshot["size"],
            created=image.get_snap_timestamp(snapshot["id"]).replace(tzinfo=UTC).timestamp(),
            protected=bool(image.is_protected_snap(snapshot["name"])),
        )
        for snapshot in found
        if not snapshot["name"].startswith(MOMENT_PREFIX)
    )


def _names(table: dict[int, str], bits: int) -> tuple[str, ...]:
    return tuple(name for bit, name in table.items() if bits & bit)


def _date(moment: datetime) -> str:
    """As ``rbd info`` prints it."""
    return moment.strftime("%a %b %e %H:%M:%S %Y")
