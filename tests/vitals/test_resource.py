"""What identifies the service."""

import os
import sys
from importlib import import_module
from pathlib import Path

import pytest
from fastapi import FastAPI

from tests.vitals.client import fetch
from vitals import instrument
from vitals.metrics.catalogue import TARGET_INFO
from vitals.resource import INSTANCE_ID, resource_attributes, with_instance_id
from vitals.testing import Readings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


def test_the_code_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resource_attributes(None, "", "1") == {"service.name": "api", "service.version": "1"}
    monkeypatch.setenv(
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=orders, service.version=9,deployment.environment.name=prod,=,broken,empty=",
    )
    assert resource_attributes(None, "", "1") == {
        "service.name": "orders",
        "service.version": "9",
        "deployment.environment.name": "prod",
    }
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    assert resource_attributes(None, "", "1")["service.name"] == "shop"
    given = resource_attributes("till", "10", "1")
    assert (given["service.name"], given["service.version"]) == ("till", "10")


def test_workers_that_share_their_metrics_are_one_instance() -> None:
    service = {"service.name": "shop"}
    one = with_instance_id(service, Path("/shared/a"))[INSTANCE_ID]
    assert with_instance_id(service, Path("/shared/a"))[INSTANCE_ID] == one
    assert with_instance_id(service, Path("/shared/b"))[INSTANCE_ID] != one
    given = service | {INSTANCE_ID: "pod-1"}
    assert with_instance_id(given, Path("/shared/a")) == given


def test_detectors_that_the_environment_names_add_what_nothing_else_says(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "otel,process,os,no_such")
    try:
        import_module("opentelemetry.sdk.resources").Resource.create()
    except StopIteration:
        pytest.skip("this OpenTelemetry does not start with a detector that it does not know")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "os.type=planted")
    found = resource_attributes(None, "2", "1")
    assert found["process.pid"] == str(os.getpid())
    assert found["os.type"] == "planted"
    assert (found["service.name"], found["service.version"]) == ("api", "2")
    assert not [each for each in found if each.startswith(("process.command", "telemetry."))]
    assert "no_such" in caplog.text
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)  # not installed
    assert "process.pid" not in resource_attributes(None, "2", "1")
    assert "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_that_shares_nothing_is_another_instance() -> None:
    service = {"service.name": "shop"}
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, with_instance_id(service, None)[INSTANCE_ID].encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as child:
        found = child.read()
    os.wait()
    assert found
    assert found != with_instance_id(service, None)[INSTANCE_ID]


def test_target_info_tells_the_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=eu,service.instance.id=pod-1")
    app = FastAPI(version="3")
    instrument(app, service_name="shop", logs=False)
    fetch(app, "GET", "/metrics")
    assert Readings.of(app).series(TARGET_INFO) == [
        {
            "service_name": "shop",
            "service_namespace": "eu",
            "service_version": "3",
            "service_instance_id": "pod-1",
            "deployment_environment_name": "",
        }
    ]
