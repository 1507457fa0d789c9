"""The metrics endpoint of a reader."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stack.readings.readings import Source
from stack.readings.sample import Sample
from vitals.metrics.catalogue import FILESYSTEM_LIMIT, FILESYSTEM_USAGE
from vitals.saturation import disk


class ReaderMetrics(Collector):
    """Yields what a reader knows, and the space in folders.

    Args:
        reader: The reader.
        folders: Folders of the server on this machine, by name.
    """

    def __init__(self, reader: Source, folders: disk.Folders) -> None:
        self._reader, self._folders = reader, disk.folders(folders)

    def describe(self) -> Iterator[Metric]:
        """Nothing: registration must not count as a scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        yield from _families([*self._reader.samples(), *self._space()])

    def _space(self) -> Iterator[Sample]:
        for name, folder in self._folders.items():
            if found := disk.usage(folder):
                yield Sample(FILESYSTEM_USAGE, (name,), found.used)
                yield Sample(FILESYSTEM_LIMIT, (name,), found.limit)


def registry_of(reader: Source, folders: disk.Folders) -> CollectorRegistry:
    """A registry with the metrics of a reader and of its process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(ReaderMetrics(reader, folders))
    return registry


def _families(samples: Iterable[Sample]) -> Iterator[Metric]:
    found: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for metric, labels, value in samples:
        if metric.name not in found:
            family = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
            found[metric.name] = family(name, metric.help, labels=metric.label_names)
        found[metric.name].add_metric(labels, value)
    yield from found.values()
