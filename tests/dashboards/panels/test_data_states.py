"""What tiles show without data: the reason, in grey, never a figure."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.boards.database import FAILED, NO_CONNECTION
from dashboards.boards.database import RATE as QUERIES
from dashboards.boards.registry import BOARDS
from dashboards.panels.data_states import NOT_SCRAPED, NOT_YET, STATES, TARGET_DOWN
from dashboards.panels.stat_panels import Stat, Tile
from dashboards.rendered_queries import fill_in
from dashboards.style import Colour
from tests.dashboards.test_values import series

TILES = [
    (board.uid, panel)
    for board in BOARDS
    for row in board.rows
    for panel in row.panels
    if isinstance(panel, Tile)
]
API = {"job": "api", "instance": "one"}


def check(
    tmp_path: Path, given: list[dict[str, str]], expected: dict[str, Any], at: str = "10m"
) -> None:
    """Evaluate PromQL at a time; promtool compares with the samples."""
    cases = [
        {"expr": expr, "eval_time": at, "exp_samples": samples}
        for expr, samples in expected.items()
    ]
    test = {"interval": "15s", "input_series": given, "promql_expr_test": cases}
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [test]}))
    run = subprocess.run(
        ["promtool", "test", "rules", file], check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


def drawn(panel: Tile) -> list[str]:
    return [fill_in(query.expr) for query in panel.drawn_queries]


def states(state: int, *, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every tile has this state and nothing else."""
    expected: dict[str, Any] = {}
    for _, tile in TILES:
        if tile.counts_targets or tile.title in but:
            continue
        first, *others = drawn(tile)
        label = re.search(r"{{(\w+)}}", tile.queries[0].legend)
        labels = f'{{{label[1]}="now"}}' if label else "{}"
        expected[first] = [{"labels": labels, "value": state}]
        expected |= {other: [] for other in others}
    assert len(expected) > 20
    return expected


def at_every(value: str) -> list[dict[str, str]]:
    return [
        {"series": series, "values": value}
        for series in (
            'up{job="api", instance="one"}',
            'postgres_up{instance="db"}',
            'redis_server_up{instance="cache"}',
        )
    ]


def test_a_target_that_is_down(tmp_path: Path) -> None:
    check(tmp_path, at_every("1x20 0x20"), states(TARGET_DOWN))


def test_a_target_that_never_answered(tmp_path: Path) -> None:
    check(tmp_path, at_every("0x40"), states(TARGET_DOWN))


def test_nothing_was_ever_scraped(tmp_path: Path) -> None:
    check(tmp_path, [], states(NOT_SCRAPED))


def test_prometheus_has_just_started(tmp_path: Path) -> None:
    known = ("Telemetry dropped, 1 hour", "Restarts, 1 hour")
    given = [
        *at_every("1"),
        {"series": 'process_start_time_seconds{job="api", instance="one"}', "values": "7"},
    ]
    check(tmp_path, given, states(NOT_YET, but=known), at="5s")


def test_one_failed_scrape_hides_nothing_but_a_target_that_is_down_has_no_rate(
    tmp_path: Path,
) -> None:
    """A rate of five minutes alone would last as long."""
    busy = {"series": 'db_client_operation_duration_seconds_count{job="api", instance="one"}'}
    [rate] = drawn(QUERIES)
    given = [*at_every("1x30 0 1x9 0x20"), {**busy, "values": "0+30x40 stale"}]
    check(tmp_path, given, {rate: [{"labels": "{}", "value": 2}]}, at="7m45s")
    [failed] = drawn(FAILED)
    idle = [*at_every("1x30 0 1x9 0x20"), {**busy, "values": "7x30"}]
    check(tmp_path, idle, {failed: [{"labels": "{}", "value": TARGET_DOWN}]}, at="7m45s")
    check(tmp_path, given, {rate: [{"labels": "{}", "value": TARGET_DOWN}]}, at="12m")


def test_no_traffic_and_counters_that_were_reset(tmp_path: Path) -> None:
    [rate] = drawn(QUERIES)
    [failed] = drawn(FAILED)
    queries = 'db_client_operation_duration_seconds_count{job="api", instance="one"}'
    idle = [*at_every("1x40"), {"series": queries, "values": "7x40"}]
    check(tmp_path, idle, {rate: [{"labels": "{}", "value": 0}], failed: []})
    reset = [*at_every("1x40"), {"series": queries, "values": "6000+30x30 0+30x10"}]
    lost = {"labels": "{}", "value": 1.9}  # the queries between the last scrape and the end
    check(tmp_path, reset, {f"round({rate}, 0.1)": [lost]})


def test_callers_without_a_connection_are_failed_queries(tmp_path: Path) -> None:
    """All slots of the database are taken: no query is sent, so none fails."""
    pool = {**API, "db_client_connection_pool_name": "vitals"}
    given = [
        *at_every("1x40"),
        {
            "series": 'db_client_operation_duration_seconds_count{job="api", instance="one"}',
            "values": "900x40",
        },
        {**series("db_client_connection_errors_total", 0, **pool, error_type="TooMany")}
        | {"values": "0+45x40"},
        {**series("db_client_connection_errors_total", 0, **pool, error_type="CancelledError")}
        | {"values": "0+90x40"},
    ]
    [failed] = drawn(FAILED)
    check(tmp_path, given, {failed: [{"labels": "{}", "value": 1}]})
    shown = fill_in(NO_CONNECTION.queries[1].expr)
    labels = '{db_client_connection_pool_name="vitals", error_type="%s"}'
    check(
        tmp_path,
        given,
        {
            shown: [
                {"labels": labels % "TooMany", "value": 3},
                {"labels": labels % "CancelledError", "value": 6},
            ]
        },
    )


@pytest.mark.parametrize(("uid", "tile"), TILES)
def test_every_state_of_a_tile_is_grey_words(uid: str, tile: Tile) -> None:
    drawn_tile = tile.draw(0, 0)
    by_value, by_kind = drawn_tile["fieldConfig"]["defaults"]["mappings"]
    for number, words in STATES.items():
        shown = by_value["options"][str(number)]
        assert (shown["text"], shown["color"]) == (words, Colour.MUTED.value)
    assert by_kind["options"]["match"] == "null+nan"
    assert by_kind["options"]["result"]["color"] == Colour.MUTED.value


def test_a_tile_of_single_instances_asks_for_those() -> None:
    one = Stat(id=1, title="T", description="D", unit="s", queries=QUERIES.queries)
    assert one.drawn_queries[0].expr.count('instance=~"$instance"') == 6
