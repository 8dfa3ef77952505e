"""The laboratory's own authority, and the certificates with which its clusters know each other's API."""

from __future__ import annotations

import fcntl
from pathlib import Path

from lab.cluster import Cluster
from lab.errors import run

DAYS = "3650"
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")


def authority(state: Path) -> Path:
    """The certificate of the authority that all clusters below ``state`` share, made the first time."""
    certificate, key = state / "ca.pem", state / "ca.key"
    with (state / "ca.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not certificate.exists():
            extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash"
            _request(certificate, key, "pvc-lab", extensions)
    return certificate


def certificate(cluster: Cluster) -> str:
    """Key and certificate (PEM, one after the other) for the API of every coordinator, made the first time."""
    file, key = cluster.state / "api.pem", cluster.state / "api.key"
    if not file.exists():
        signer = authority(cluster.state.parent)
        addresses = [cluster.floating("upstream").partition("/")[0]]
        addresses += [cluster.address(node, "upstream") for node in cluster.coordinators]
        names = ",".join(["DNS:localhost", "IP:127.0.0.1", *(f"IP:{address}" for address in addresses)])
        extensions = f"basicConstraints=critical,CA:FALSE\nsubjectAltName={names}\nextendedKeyUsage=serverAuth"
        _request(file, key, cluster.name, extensions, "-CA", str(signer), "-CAkey", str(signer.with_suffix(".key")))
    return key.read_text() + file.read_text()


def _request(certificate: Path, key: Path, name: str, extensions: str, *signer: str) -> None:
    """Make a key, readable for root alone, and a certificate for it, which appears last."""
    configuration = f"[req]\ndistinguished_name=subject\nx509_extensions=added\n[subject]\n[added]\n{extensions}\n"
    key.touch(mode=0o600)
    made = run(
        "openssl", "req", "-x509", "-config", "/dev/stdin", "-days", DAYS, "-subj", f"/CN={name}",
        *KEY, "-keyout", str(key), *signer,
        stdin=configuration,
    )  # fmt: skip
    unfinished = certificate.with_suffix(".new")
    unfinished.write_text(made)
    unfinished.rename(certificate)
