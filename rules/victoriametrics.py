"""Declarations of the metrics of VictoriaMetrics' programs that its alerts use.

As of version 1.145; every series also has ``job`` and ``instance``.
"""

from typing import NamedTuple

from vitals.metrics.declarations import Counter, Gauge, NoLabels


class GroupLabels(NamedTuple):
    """The label of a rule group."""

    group: str


class IgnoredLabels(NamedTuple):
    """Why a sample is not stored, such as ``too_many_labels``."""

    reason: str


class PathLabels(NamedTuple):
    """The folder of the data."""

    path: str


class ReceiverLabels(NamedTuple):
    """The store that vmagent writes to, without its secrets: ``1:secret-url``."""

    url: str


# -- vmalert -------------------------------------------------------------------------------

ALERTING_FAILURES = Counter(
    "vmalert_alerting_rules_errors_total", "Alerts that could not be evaluated.", GroupLabels
)
RECORDING_FAILURES = Counter(
    "vmalert_recording_rules_errors_total", "Signals that could not be recorded.", GroupLabels
)
ITERATIONS_MISSED = Counter(
    "vmalert_iteration_missed_total",
    "Evaluations skipped because the one before took too long.",
    GroupLabels,
)
ALERTS_UNSENT = Counter(
    "vmalert_alerts_send_errors_total", "Alerts that Alertmanager did not take.", NoLabels
)
RECORDED_DROPPED = Counter(
    "vmalert_remotewrite_dropped_rows_total", "Recorded samples that are lost.", NoLabels
)
VMALERT_CONFIG_GOOD = Gauge(
    "vmalert_config_last_reload_successful", "0 while new rules are rejected.", NoLabels
)

# -- vmagent and vmauth --------------------------------------------------------------------

VMAGENT_CONFIG_GOOD = Gauge(
    "vm_promscrape_config_last_reload_successful",
    "0 while a new configuration of scraping is rejected.",
    NoLabels,
)
VMAUTH_CONFIG_GOOD = Gauge(
    "vmauth_config_last_reload_successful", "0 while a new configuration is rejected.", NoLabels
)
PENDING_BYTES = Gauge(
    "vmagent_remotewrite_pending_data_bytes",
    "What vmagent has not been able to send yet, in memory and on disk.",
    ReceiverLabels,
)
PACKETS_DROPPED = Counter(
    "vmagent_remotewrite_packets_dropped_total",
    "Blocks of samples that a store refused for good, or that found no room.",
    ReceiverLabels,
)
SAMPLES_LIMIT = Gauge(
    "scrape_samples_limit", "Sample limit of a scrape; absent where there is none.", NoLabels
)

# -- The store -----------------------------------------------------------------------------

READ_ONLY = Gauge(
    "vm_storage_is_read_only", "1 while the store takes no samples: its disk is full.", PathLabels
)
DISK_FREE = Gauge("vm_free_disk_space_bytes", "Free space of the disk of the data.", PathLabels)
DISK_LIMIT = Gauge(
    "vm_free_disk_space_limit_bytes", "Free space below which it takes no samples.", PathLabels
)
ROWS_IGNORED = Counter(
    "vm_rows_ignored_total", "Samples that are not stored, by reason.", IgnoredLabels
)
ROWS_INSERTED = Counter("vm_rows_added_to_storage_total", "Samples that are stored.", NoLabels)
SLOW_INSERTS = Counter(
    "vm_slow_row_inserts_total",
    "Samples of series that were not in the cache, which cost many times more.",
    NoLabels,
)
