"""The recording has a series of every metric that the boards may query."""

from tests.browser import recording
from vitals.metrics.catalogue import CATALOGUE
from vitals.metrics.declarations import Histogram


def test_a_metric_that_the_scrape_lacks_gets_a_series() -> None:
    declared = list(recording.declared(""))
    for name, metric in CATALOGUE.items():
        suffix = "_bucket{" if isinstance(metric, Histogram) else "{"
        assert any(line.startswith(name + suffix) for line in declared), name
    assert list(recording.declared("\n".join(declared))) == []
