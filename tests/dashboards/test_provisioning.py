"""Grafana's provisioning files match the boards and Prometheus's configuration."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.variables import DEFAULT_DATASOURCE

ROOT = Path(__file__).parents[2]


def _read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


@pytest.fixture(name="sources")
def _sources() -> dict[str, dict[str, Any]]:
    listed = _read("grafana/provisioning/datasources/main.yaml")["datasources"]
    return {source["uid"]: source for source in listed}


def test_boards_start_with_the_provisioned_data_source(
    sources: dict[str, dict[str, Any]],
) -> None:
    source = sources[DEFAULT_DATASOURCE["value"]]
    assert source["name"] == DEFAULT_DATASOURCE["text"]
    assert source["type"] == "prometheus"
    assert [other["uid"] for other in sources.values() if other.get("isDefault")] == ["prometheus"]


def test_exemplars_link_to_the_trace_data_source(sources: dict[str, dict[str, Any]]) -> None:
    (destination,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert destination["name"] == "trace_id"
    assert sources[destination["datasourceUid"]]["type"] == "tempo"


def test_the_rate_interval_follows_from_the_scrape_interval(
    sources: dict[str, dict[str, Any]],
) -> None:
    scraped = _read("prometheus/prometheus.yml")["global"]["scrape_interval"]
    assert sources["prometheus"]["jsonData"]["timeInterval"] == scraped


def test_no_secret_is_in_the_file(sources: dict[str, dict[str, Any]]) -> None:
    for source in sources.values():
        for secret in source.get("secureJsonData", {}).values():
            assert secret.startswith("$")


def test_boards_are_read_only() -> None:
    (provider,) = _read("grafana/provisioning/dashboards/main.yaml")["providers"]
    assert provider["allowUiUpdates"] is False
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
