"""Real servers for backups, on loopback or inside a host of the laboratory: Ceph's S3 gateway, and OpenSSH."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import boto3

TIMEOUT = 60.0  # seconds for a server to answer
LOOPBACK = "127.0.0.1"


@contextmanager
def s3_gateway(
    ceph_config: str, directory: Path, address: str = LOOPBACK, inside: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """A bucket: its URI, and the credentials for it. ``inside`` begins the command that starts the server."""
    port = _free_port()
    common = ["-c", ceph_config, "--name", "client.admin", "--log-file", str(directory / "log")]
    admin = [*inside, "radosgw-admin", *common, "user", "create", "--uid", "pvc", "--display-name", "pvc"]
    answer = subprocess.run(admin, capture_output=True, check=True, timeout=TIMEOUT)
    key = json.loads(answer.stdout)["keys"][0]
    credentials = {"access_key": key["access_key"], "secret_key": key["secret_key"]}
    endpoint = f"beast endpoint={address}:{port}"
    # Its own default is encryption, for which there is no key where authentication is off.
    plain = ["--ms-mon-client-mode", "crc"]
    command = [*inside, "radosgw", *common, *plain, "-f", "--rgw-frontends", endpoint, "--rgw-data", str(directory)]
    with _process(command, address, port):
        client = boto3.client(
            "s3",
            endpoint_url=f"http://{address}:{port}",
            region_name="us-east-1",
            aws_access_key_id=key["access_key"],
            aws_secret_access_key=key["secret_key"],
        )
        client.create_bucket(Bucket="backups")
        yield f"s3://backups/?endpoint=http://{address}:{port}", credentials


@contextmanager
def sftp_server(
    directory: Path, address: str = LOOPBACK, inside: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """A server for this user: the URI of an empty directory, and the credentials. ``inside`` as above."""
    port = _free_port()
    user = pwd.getpwuid(os.getuid()).pw_name
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True)
    (directory / "sshd_config").write_text(
        f"Port {port}\nListenAddress {address}\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/user.pub\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # without it sshd does not start
    credentials = {
        "private_key": (directory / "user").read_text(),
        "host_key": (directory / "host.pub").read_text(),
    }
    command = [*inside, "/usr/sbin/sshd", "-D", "-e", "-f", str(directory / "sshd_config")]
    with _process(command, address, port):
        yield f"sftp://{user}@{address}:{port}{directory}/store", credentials


@contextmanager
def _process(command: list[str], address: str, port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=sys.stderr, start_new_session=True)
    try:
        deadline = time.monotonic() + TIMEOUT
        while not _answers(address, port):
            assert process.poll() is None, f"{command[0]} ended with status {process.returncode}"
            assert time.monotonic() < deadline, f"{command[0]} does not answer"
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
