"""What is made of the answers of a guest's agent, of which real ones give only a few."""

from __future__ import annotations

import libvirt
import libvirt_qemu
import pytest

from pvc_core.drivers import libvirt_agent

AGENT = (
    "<domain><devices><channel><target name='org.qemu.guest_agent.0' state='connected'/></channel></devices></domain>"
)
SILENT, ANSWERED = libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_INTERNAL_ERROR


class Domain:
    """A domain whose agent freezes nothing and thaws nothing."""

    def __init__(self, code: int, xml: str = AGENT) -> None:
        self._code = code
        self._xml = xml
        self.thaws = 0

    def name(self) -> str:
        return "web"

    def XMLDesc(self) -> str:
        return self._xml

    def agentSetResponseTimeout(self, seconds: int) -> None:
        assert seconds > 0

    def fsFreeze(self) -> int:
        raise self.error()

    def fsThaw(self) -> int:
        self.thaws += 1
        raise self.error()

    def error(self) -> libvirt.libvirtError:
        error = libvirt.libvirtError("the agent")
        error.err = (self._code, 0, "no", 2, "", None, None, 0, 0)
        return error


@pytest.fixture
def status(monkeypatch: pytest.MonkeyPatch):
    """Lets the agent answer what state its file systems are in; None: it does not know."""

    def say(state: str | None) -> None:
        def answer(domain: Domain, command: str, timeout: int, flags: int) -> str:
            assert command == libvirt_agent.STATUS
            if state is None:
                raise domain.error()
            return f'{{"return": "{state}"}}'

        monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", answer)

    return say


@pytest.mark.parametrize("code", [SILENT, ANSWERED])
def test_a_freeze_that_fails_is_taken_back(code: int) -> None:
    domain = Domain(code)
    assert not libvirt_agent.freeze(domain)
    assert domain.thaws == 1


@pytest.mark.parametrize("state", [None, "thawed"])
def test_an_agent_that_cannot_freeze_need_not_thaw(status, state: str | None) -> None:
    status(state)
    libvirt_agent.thaw(Domain(ANSWERED))


def test_what_stays_frozen_is_an_error(status) -> None:
    status("frozen")
    with pytest.raises(libvirt.libvirtError):
        libvirt_agent.thaw(Domain(ANSWERED))


def test_an_agent_that_is_silent_may_have_frozen_something() -> None:
    with pytest.raises(libvirt.libvirtError):
        libvirt_agent.thaw(Domain(SILENT))


def test_a_guest_without_agent_is_not_asked() -> None:
    domain = Domain(SILENT, AGENT.replace("'connected'", "'disconnected'"))
    assert not libvirt_agent.freeze(domain)
    libvirt_agent.thaw(domain)
    assert domain.thaws == 0
