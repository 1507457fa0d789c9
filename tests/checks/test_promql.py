"""The static check of PromQL finds each kind of error."""

import pytest

from checks.promql import ContractError, labels_of

BUILD = {"job", "instance", "version", "revision"}
REQUESTS = "http_server_request_duration_seconds"


@pytest.mark.parametrize(
    ("expr", "error"),
    [
        ("http_requests_total", "unknown series http_requests_total"),
        (f"rate({REQUESTS}[5m])", f"unknown series {REQUESTS}"),
        (f'{REQUESTS}_count{{route="/"}}', "no label route"),
        (f"sum by (le) (rate({REQUESTS}_count[5m]))", "no label le"),
        (f"histogram_quantile(0.9, sum by (job) ({REQUESTS}_bucket))", "no label le"),
        ("sum by (cache) (vitals_workers)", "no label cache"),
        (f'{REQUESTS}_bucket{{le="0.3"}}', "no bucket has the bound 0.3"),
        (f'{REQUESTS}_bucket{{le=~"0.3|0.4"}}', "no bucket has the bound 0.3|0.4"),
        (f'{REQUESTS}_bucket{{le="1"}}', r'write le=~"1\(\[.\]0\)\?"'),
        ("vitals_workers > on (slo) job_route_slo:slo_target_ratio:max", "no label slo"),
        ("vitals_workers * on (job) group_left (cache) app_build_info", "no label cache"),
        ('label_replace(vitals_workers, "class", "$1", "status", "(.)")', "no label status"),
    ],
)
def test_a_query_of_unknown_series_or_labels(expr: str, error: str) -> None:
    with pytest.raises(ContractError, match=error):
        labels_of(expr)


@pytest.mark.parametrize(
    ("expr", "labels"),
    [
        ("vitals_workers", {"job", "instance"}),
        ("sum(vitals_workers)", set()),
        (f'sum(rate({REQUESTS}_bucket{{le="0.25"}}[5m]))', set()),
        (f'sum(rate({REQUESTS}_bucket{{le=~"1([.]0)?"}}[5m]))', set()),
        ("sum without (instance) (vitals_workers)", {"job"}),
        ("topk(3, vitals_workers)", {"job", "instance"}),
        ("topk by (job) (1, vitals_workers)", {"job", "instance"}),
        ("scalar(vitals_workers) + 1", set()),
        ("1 - vitals_workers", {"job", "instance"}),
        ('label_replace(vitals_workers, "word", "well", "", "")', {"job", "instance", "word"}),
        (f"histogram_quantile(0.9, sum by (job, le) ({REQUESTS}_bucket))", {"job"}),
        ("job_route_slo:slo_target_ratio:max > on (job) sum by (job) (vitals_workers)", {"job"}),
        ("vitals_workers and on (job) job_route_slo:slo_target_ratio:max", {"job", "instance"}),
        ("app_build_info * on (job) group_left () sum by (job) (vitals_workers)", BUILD),
        (
            "vitals_workers * on (job) group_left (version) app_build_info",
            {"job", "instance", "version"},
        ),
        (
            "sum_over_time(job_route_slo:slo_target_ratio:max[1h:5m])",
            {"job", "http_route", "slo"},
        ),
    ],
)
def test_labels_of_a_result(expr: str, labels: set[str]) -> None:
    assert labels_of(expr) == labels


def test_invalid_promql() -> None:
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        labels_of("sum by (job")
