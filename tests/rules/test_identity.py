"""Identity labels survive in every rule, alert, route and board."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from alerts import message_links
from alerts.alertmanager import NORMAL_TIMINGS, configuration
from alerts.receivers import ReceiverSettings
from alerts.rule_files import render
from dashboards.boards.registry import BOARDS
from dashboards.identity import identify
from dashboards.rendered_queries import CHOICES, fill_in, panels
from rules.identity import BY_JOB, Identity
from rules.promql import nodes

LABELS = ("cluster", "namespace", "job")
WIDE = Identity(LABELS)
FILES = {name: yaml.safe_load(text) for name, text in render(identity=WIDE).items()}
RULES = [rule for file in FILES.values() for group in file["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = [rule for rule in RULES if "record" in rule]
CHOSEN = {**CHOICES, "cluster": "eu", "namespace": "production"}


def groupings(query: str) -> Iterator[list[str]]:
    """The labels of every ``by`` and ``on``."""
    for node in nodes(promql_parser.parse(query)):
        modifier = getattr(node, "modifier", None)
        matching = getattr(modifier, "matching", modifier)
        if matching is not None:
            yield list(matching.labels)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_groups_and_joins_by_all_identity_labels(rule: dict[str, Any]) -> None:
    for labels in groupings(rule["expr"]):
        assert ("job" in labels) <= ({*LABELS} <= {*labels})


def test_rules_do_group_by_job() -> None:
    assert sum("job" in labels for rule in RULES for labels in groupings(rule["expr"])) > 100


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_lookups_of_annotations_select_by_all_identity_labels(rule: dict[str, Any]) -> None:
    for text in rule["annotations"].values():
        for query, values in re.findall(r'printf "((?:[^"\\]|\\.)*)"((?: \$?[\w.]+)+)', text):
            assert query.count("%q") == len(values.split())
            assert query.count("job=%q") == query.count("cluster=%q,namespace=%q,job=%q")
            for place, value in zip(re.findall(r"(\w+)=%q", query), values.split(), strict=True):
                assert value.rpartition(".")[2] in {place, "job"} or place not in LABELS


def test_a_summary_says_which_service_of_the_name() -> None:
    [alert] = [rule for rule in ALERTS if rule["alert"] == "TargetDown"]
    assert (
        "{{ $labels.job }} ({{ $labels.cluster }}, {{ $labels.namespace }})"
        in (alert["annotations"]["summary"])
    )


def test_rendered_rules_are_valid(tmp_path: Path) -> None:
    for name, text in render(identity=WIDE).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["promtool", "check", "rules", *tmp_path.glob("*.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("identity", "pages"), [(WIDE, True), (BY_JOB, False)])
def test_production_that_fails_pages_beside_a_load_test_of_the_same_job(
    tmp_path: Path, identity: Identity, *, pages: bool
) -> None:
    files = render(identity=identity)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    groups = [group["name"] for text in files.values() for group in yaml.safe_load(text)["groups"]]
    # Alerts read what the rules before them recorded.
    order = [name for name in groups if "-alerts" not in name]
    order += [name for name in groups if "-alerts" in name]
    production, staging = (
        f'cluster="eu", namespace="{name}", job="shop", instance="{name}:1"'
        for name in ("production", "staging")
    )
    event = 'slo="availability", http_route="/pay"'
    series = {
        f"vitals_workers{{{production}}}": "1x40",
        f"vitals_workers{{{staging}}}": "1x40",
        f'slo_target_ratio{{{production}, slo="availability"}}': "0.999x40",
        f'slo_target_ratio{{{staging}, slo="availability"}}': "0.999x40",
        f'slo_events_total{{{production}, {event}, outcome="bad"}}': "0+8x40",
        f'slo_events_total{{{production}, {event}, outcome="good"}}': "0+92x40",
        f'slo_events_total{{{staging}, {event}, outcome="good"}}': "0+9000x40",
    }
    test = {
        "rule_files": ["*.yml"],
        "evaluation_interval": "1m",
        "group_eval_order": order,
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": text} for name, text in series.items()],
                "promql_expr_test": [
                    {
                        "expr": 'count by (namespace) (ALERTS{alertname="ErrorRatioHigh", '
                        'alertstate="firing"})',
                        "eval_time": "20m",
                        "exp_samples": [{"labels": '{namespace="production"}', "value": 1}]
                        if pages
                        else [],
                    }
                ],
            }
        ],
    }
    case = tmp_path / "case.yaml"
    case.write_text(json.dumps(test))
    done = subprocess.run(
        ["promtool", "test", "rules", case], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_are_grouped_and_inhibited_by_all_identity_labels() -> None:
    config = configuration(ReceiverSettings(), "", NORMAL_TIMINGS, WIDE)
    assert config["route"]["group_by"] == ["alertname", *LABELS]
    for rule in config["inhibit_rules"]:
        assert ("job" in rule["equal"]) <= ({*LABELS} <= {*rule["equal"]})


def test_links_of_messages_choose_all_identity_labels() -> None:
    texts = message_links.plain(ReceiverSettings(boards="http://boards"), WIDE)
    assert "var-cluster={{" in texts
    assert "&var-namespace={{" in texts
    assert '"{alertname=%q,cluster=%q,namespace=%q,job=%q}"' in texts


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_board_selects_one_service_among_those_of_its_name(board: Any) -> None:
    drawn = identify(board.draw(), WIDE)
    names = [variable["name"] for variable in drawn["templating"]["list"]]
    assert len(names) == len({*names})
    if "job" in names:
        place = names.index("job")
        assert names[place - 2 : place + 1] == [*LABELS]
    for panel in panels(drawn):
        for target in panel.get("targets", ()):
            for labels in groupings(fill_in(target["expr"], CHOSEN)):
                assert ("job" in labels) <= ({*LABELS} <= {*labels})
            assert target["expr"].count("$job") == target["expr"].count("$cluster")
    texts = json.dumps(drawn)
    assert texts.count("${job:queryparam}") == texts.count("${namespace:queryparam}")
    assert texts.count("var-job=${__value") == texts.count("var-cluster=${__data.fields.cluster:")


def test_the_default_changes_nothing() -> None:
    assert render(identity=BY_JOB) == render()
    assert identify(BOARDS[0].draw(), BY_JOB) == BOARDS[0].draw()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cluster,namespace", "must include job"),
        ("job,job", "twice"),
        ("job,k8s-cluster", "'k8s-cluster' is no label's name"),
        ("job,__name__", "no label's name"),
        ("", "no label's name"),
    ],
)
def test_invalid_labels_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Identity.parse(text)


def test_a_lookup_with_too_few_values_is_refused() -> None:
    with pytest.raises(ValueError, match="2 places for 1 values"):
        WIDE.template('{{ printf "a{job=%q,slo=%q}" $labels.job | query }}')
