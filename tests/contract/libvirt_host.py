"""A node's libvirt for tests: a libvirtd with its machines in namespaces of its own, on an address of loopback."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import libvirt

LIBVIRT_USER = "libvirt-qemu"  # libvirtd wants it to exist, though its machines run as root here
USER_ID = 64055
START_TIMEOUT = 30.0
COVERED = ("/run", "/var/log", "/var/lib/libvirt", "/var/cache/libvirt", "/etc/libvirt")


class LibvirtHost:
    """Everything of it lies in ``directory`` and ends with ``stop``, or with the thread that called ``start``."""

    def __init__(self, directory: Path, name: str, address: str) -> None:
        self.directory = directory
        self.name = name
        self.address = address
        self.uri = f"qemu+unix:///system?socket={directory}/run/libvirt/libvirt-sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start libvirtd, which is started again whenever it ends, and wait until it answers."""
        self._write_files()
        script = self.directory / "boot.sh"
        script.write_text(self._script())
        namespaces = ("--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
        with (self.directory / "boot.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, "sh", str(script)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait()

    def wait(self) -> None:
        """Wait until libvirtd answers."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            log = (self.directory / "boot.log").read_text()[-1000:]
            assert time.monotonic() < deadline, f"libvirtd did not answer within {START_TIMEOUT} s:\n{log}"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            libvirt.open(self.uri).close()
        except libvirt.libvirtError:
            return False
        return True

    def crash(self) -> None:
        """Kill libvirtd; its machines run on, and it comes back."""
        self._inside("sh", "-c", "kill -KILL $(cat /run/libvirtd.pid)")

    def kill_machine(self, name: str) -> None:
        """Kill the QEMU process of a machine."""
        self._inside("pkill", "-KILL", "--full", f"guest={name},")

    def virsh(self, *arguments: str) -> str:
        command = ["virsh", "--connect", self.uri, "--quiet", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _inside(self, *command: str) -> None:
        assert self._process is not None
        pid = self._process.pid
        init = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        subprocess.run(["nsenter", "-t", init, "--mount", "--pid", *command], check=True, timeout=30)

    def _write_files(self) -> None:
        for covered in COVERED:
            (self.directory / covered.lstrip("/")).mkdir(parents=True, exist_ok=True)
        libvirtd = f"""listen_tls = 0
listen_tcp = 1
listen_addr = "{self.address}"
auth_tcp = "none"
auth_unix_rw = "none"
host_uuid = "{uuid.uuid4()}"
log_outputs = "3:stderr"
"""
        qemu = """user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""
        (self.directory / "etc/libvirt/libvirtd.conf").write_text(libvirtd)
        (self.directory / "etc/libvirt/qemu.conf").write_text(qemu)
        for name in ("passwd", "group"):
            shutil.copy(f"/etc/{name}", self.directory / name)
        with (self.directory / "passwd").open("a") as users:
            users.write(f"{LIBVIRT_USER}:x:{USER_ID}:{USER_ID}::/nonexistent:/usr/sbin/nologin\n")
        with (self.directory / "group").open("a") as groups:
            groups.write(f"{LIBVIRT_USER}:x:{USER_ID}:\n")

    def _script(self) -> str:
        root = shlex.quote(str(self.directory))
        lines = ["set -eu", f"hostname {self.name}", "mount -t proc proc /proc"]
        lines += [f"mount --bind {root}{covered} {covered}" for covered in COVERED]
        lines += [f"mount --bind {root}/{name} /etc/{name}" for name in ("passwd", "group")]
        libvirtd = "libvirtd --listen --pid-file /run/libvirtd.pid"
        lines.append(f"exec tini -g -- sh -c 'while :; do {libvirtd} || true; sleep 0.2; done'")
        return "\n".join(lines) + "\n"
