"""Metrics of the runner, as Prometheus scrapes them."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from stack.process.runner_metrics import RunnerMetrics
from stack.process.service import ServiceStatus, State


def test_ends_are_counted_from_zero_and_readiness_shows_after_the_first_start() -> None:
    metrics = RunnerMetrics()
    port = metrics.serve(0)

    def scrape() -> dict[tuple[str, str], float]:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        return {
            (sample.name, sample.labels["service"]): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    metrics.update(ServiceStatus("api", State.WAITING))
    assert scrape() == {("runner_service_ends_total", "api"): 0}
    metrics.update(ServiceStatus("api", State.READY, 1))
    assert scrape()["runner_service_ready", "api"] == 1
    metrics.update(ServiceStatus("api", State.ENDED, 1, ends=1))
    assert scrape() == {
        ("runner_service_ends_total", "api"): 1,
        ("runner_service_ready", "api"): 0,
    }
