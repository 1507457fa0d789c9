"""Deploy marks: when the annotation's query returns a version, by promtool with the rules."""

import subprocess
from pathlib import Path

import pytest
import yaml

from dashboards.annotations import DEPLOYS
from dashboards.rendered_queries import fill_in

RULES = Path(__file__).parents[2] / "prometheus" / "rules" / "processes.yml"

pytestmark = [pytest.mark.usefixtures("outer_suites"), pytest.mark.slow]


@pytest.mark.parametrize(
    ("instances", "marked", "unmarked"),
    [
        pytest.param({"a:1/1": "1x40 1x40"}, {2: ["1"]}, [10, 60], id="the first version"),
        pytest.param(
            {"a:1/1": "1x20 stale", "a:1/2": "_x20 1x60"}, {22: ["2"]}, [18, 40], id="a new one"
        ),
        pytest.param({"a:1/1": "1x20 stale _x9 1x50"}, {}, [31, 33, 40], id="an outage"),
        pytest.param({"a:1/1": "1x20 stale _x99 1x50"}, {}, [121, 123, 130], id="a longer outage"),
        pytest.param({"a:1/1": "1x80", "b:1/1": "_x30 1x50"}, {}, [31, 33], id="a second instance"),
        pytest.param(
            {"a:1/1": "1x20 stale _x19 1x40", "a:1/2": "_x20 1x19 stale"},
            {22: ["2"], 42: ["1"]},
            [38, 55],
            id="a return to the version before",
        ),
    ],
)
def test_deploys(
    tmp_path: Path, instances: dict[str, str], marked: dict[int, list[str]], unmarked: list[int]
) -> None:
    given = []
    for name, values in instances.items():
        instance, version = name.split("/")
        labels = f'job="api", instance="{instance}", version="{version}", revision="r"'
        given.append({"series": f"app_build_info{{{labels}}}", "values": values})
    record = "job_version_revision:app_build_info:max"
    cases = [
        {
            "expr": fill_in(DEPLOYS.expr),
            "eval_time": f"{minute}m",
            "exp_samples": [
                {"labels": f'{record}{{job="api", version="{one}", revision="r"}}', "value": 1}
                for one in versions
            ],
        }
        for minute, versions in (marked | {minute: [] for minute in unmarked}).items()
    ]
    test = {"interval": "1m", "input_series": given, "promql_expr_test": cases}
    groups = ["processes-signals", "processes-signals-long", "processes-alerts"]
    file = tmp_path / "test.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(RULES)],
                "evaluation_interval": "1m",
                "group_eval_order": groups,
                "tests": [test],
            }
        )
    )
    run = subprocess.run(
        ["promtool", "test", "rules", file], check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
