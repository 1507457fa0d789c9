"""The backtest: alerts replayed over recorded data by a real Prometheus."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.__main__ import main
from stack.backtest.firings import Firing, firings_of, longest_interval
from stack.tsdb_replay import TsdbReplay, promtool

MINUTES = 100
BEGIN = int(time.time()) // 60 * 60 - 60 * MINUTES


def _history() -> Iterator[str]:
    """A shop with one instance that was down twice, and that had errors for a while."""
    scraped = 'job="shop",instance="shop-1"'
    for minute in range(MINUTES):
        down = 20 <= minute < 24 or 60 <= minute < 75
        yield f"up{{{scraped}}} {int(not down)} {BEGIN + 60 * minute}"
    for outcome, from_minute, each in (("good", 0, 60), ("bad", 80, 30)):
        labels = f'{scraped},slo="availability",http_route="/",outcome="{outcome}"'
        for minute in range(MINUTES):
            counted = max(0, minute - from_minute) * each
            yield f"slo_events_total{{{labels}}} {counted} {BEGIN + 60 * minute}"
    for minute in range(MINUTES):
        labels = f'{scraped},slo="availability",http_route=""'
        yield f"slo_target_ratio{{{labels}}} 0.999 {BEGIN + 60 * minute}"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("past") / "past.om"
    path.write_text("\n".join([*_history(), "# EOF", ""]))
    return path


@pytest.fixture(scope="module")
def folder(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    promtool("create-blocks-from", "openmetrics", str(file), str(path))
    return path


def _run(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, list[str]]:
    """The cells of each alert's row."""
    assert main(["backtest", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line.split()[0]: re.split(r"\s{2,}", line) for line in lines if "  " in line}


def test_number_and_duration_of_firings(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = _run(capsys, "--from", str(file), "--only", "TargetDown", "InstanceDown")
    # Away for 4 and for 15 minutes; TargetDown waits 2 and goes on for 5, InstanceDown waits 8 and
    # would have fired twice with half of that.
    assert table["TargetDown"][1:7] == ["page", "2", "2", "1", "25m00s", "14m00s"]
    assert table["InstanceDown"][1:7] == ["ticket", "1", "2", "0", "8m00s", "15m00s"]


@pytest.mark.slow
def test_missing_recording_rules_are_evaluated_first(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = _run(capsys, "--from", str(file), "--only", "ErrorRatioHigh", "--each")
    assert table["ErrorRatioHigh"][2] == "1"


def test_a_data_folder_is_not_written_to(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    table = _run(capsys, "--from", str(folder), "--only", "TargetDown")
    assert table["TargetDown"][2] == "2"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_running_prometheus_is_queried(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with TsdbReplay(folder) as prometheus:
        table = _run(capsys, "--from", prometheus.url, "--only", "TargetDown", "--days", "0.08")
    assert table["TargetDown"][2] == "2"


def test_a_promtool_dump_is_replayed(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dumped = tmp_path / "dumped"
    sample = re.compile(r"(\w+)\{(.*)\} (\S+) (\d+)")
    lines = (sample.fullmatch(line) for line in file.read_text().splitlines())
    dumped.write_text(
        "".join(
            f'{{__name__="{found[1]}", {found[2].replace(",", ", ")}}} {found[3]} {found[4]}000\n'
            for found in lines
            if found
        )
    )
    table = _run(capsys, "--from", str(dumped), "--only", "TargetDown")
    assert table["TargetDown"][2] == "2"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("up 1\n", "neither OpenMetrics nor a dump|no samples with timestamps"),
        ("what is this\n", "neither OpenMetrics nor a dump"),
        ('foreign_total{job="x"} 1 1790000000\n', "no series of a service with the kit"),
    ],
)
def test_unusable_data_are_reported(
    tmp_path: Path, content: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    assert main(["backtest", "--from", str(path)]) == 1
    assert re.search(complaint, capsys.readouterr().err)


def test_missing_data_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for where, complaint in (
        (str(tmp_path / "none"), "no such file or folder"),
        (str(tmp_path), "pass the folder of --storage.tsdb.path"),
        ("http://127.0.0.1:9", "does not respond as Prometheus does"),
    ):
        assert main(["backtest", "--from", where]) == 1
        assert complaint in capsys.readouterr().err
    assert main(["backtest", "--from", "x", "--only", "Nothing"]) == 2
    assert "no such alert: Nothing" in capsys.readouterr().err


def test_a_short_condition_does_not_fire() -> None:
    held = [0.0, 60, 120, 600, 660, 720, 780]
    assert firings_of(held, 60, lasting=180, keep_firing=0) == [Firing(780, 840)]
    assert longest_interval(held, 60) == 180


def test_keep_firing_for_continues_a_firing() -> None:
    held = [0.0, 60, 120, 300, 900]
    assert firings_of(held, 60, lasting=60, keep_firing=300) == [Firing(60, 660)]
    assert firings_of(held, 60, lasting=60, keep_firing=0) == [Firing(60, 180)]
