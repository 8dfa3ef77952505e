"""The guest's agent (qemu-guest-agent), which alone can bring the file systems of a guest to rest."""

from __future__ import annotations

import json
import logging
from contextlib import suppress

import libvirt
import libvirt_qemu
from lxml import etree

log = logging.getLogger(__name__)

CHANNEL = "devices/channel/target[@name='org.qemu.guest_agent.0'][@state='connected']"
STATUS = '{"execute": "guest-fsfreeze-status"}'
RESPONSE_TIMEOUT = 5  # seconds; a busy guest writes out gigabytes meanwhile, and waits for each of its file systems


def freeze(domain: libvirt.virDomain) -> bool:
    """Write out and freeze the guest's file systems; False where no agent does. Raises libvirtError when the domain is
    not there."""
    if not _connected(domain):
        return False
    try:
        domain.agentSetResponseTimeout(RESPONSE_TIMEOUT)
        return bool(domain.fsFreeze() > 0)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise
        log.warning("the agent of domain %s did not freeze its file systems: %s", domain.name(), error)
        with suppress(libvirt.libvirtError):  # what it froze before it failed; an agent that is silent gets it later
            domain.fsThaw()
        return False


def thaw(domain: libvirt.virDomain) -> None:
    """Undo ``freeze``; nothing where nothing is frozen. Raises libvirtError when that is not certain."""
    if not _connected(domain):
        return
    domain.agentSetResponseTimeout(RESPONSE_TIMEOUT)
    try:
        domain.fsThaw()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_AGENT_UNRESPONSIVE or _frozen(domain):
            raise
        log.debug("the agent of domain %s has nothing to thaw: %s", domain.name(), error)


def _frozen(domain: libvirt.virDomain) -> bool:
    """What the agent says; one that cannot freeze anything does not know the question either."""
    try:
        answer = libvirt_qemu.qemuAgentCommand(domain, STATUS, RESPONSE_TIMEOUT, 0)
    except libvirt.libvirtError as error:
        return bool(error.get_error_code() == libvirt.VIR_ERR_AGENT_UNRESPONSIVE)
    return bool(json.loads(answer).get("return") == "frozen")


def _connected(domain: libvirt.virDomain) -> bool:
    return etree.fromstring(domain.XMLDesc()).find(CHANNEL) is not None
