"""Ports: read from the environment, and refused with the setting to change."""

import os
import socket

import pytest

from stack.installation.ports import PortError, Ports
from stack.readiness import free_port


def test_each_port_has_a_setting() -> None:
    assert Ports.of({"REDIS_PORT": "7001", "API_PORT": ""}) == Ports(redis=7001)


def test_the_runners_port_is_a_free_one_unless_it_is_set() -> None:
    assert Ports.of({}).runner == 0
    assert Ports.of({"RUNNER_PORT": "7001"}).runner == 7001


@pytest.mark.parametrize("text", ["x", "0", "65536", "-1", "8e3"])
def test_an_invalid_port_is_refused(text: str) -> None:
    with pytest.raises(PortError, match="API_PORT"):
        Ports.of({"API_PORT": text})


def test_two_services_cannot_share_a_port() -> None:
    with pytest.raises(PortError, match="INBOX_PORT and ALERTMANAGER_PORT are both 9093"):
        Ports.of({"INBOX_PORT": "9093"})


def test_the_error_for_a_taken_port_names_its_process_and_setting() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = listener.getsockname()[1]
        others = {name: free_port() for name in ("api", "postgres", "prometheus", "inbox")}
        ports = Ports(redis=taken, alertmanager=free_port(), **others)
        with pytest.raises(PortError, match="REDIS_PORT") as refused:
            ports.check_free()
    assert f"port {taken} is taken" in str(refused.value)
    assert f"(pid {os.getpid()})" in str(refused.value)
    assert "API_PORT" not in str(refused.value)
