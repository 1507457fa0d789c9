"""Export rules, boards and routes to a monitoring that is there already.

--for prometheus --to DIR      rules, scrape job, routes of Alertmanager
--for grafana --to DIR         boards: files, API bodies, resources of Grafana 13
--for kubernetes --to DIR      PrometheusRules, ServiceMonitor, boards, the API, a pair
--for mimir|thanos|victoriametrics --to DIR

Each folder has a README.md with the commands that load it.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from alerts.alertmanager import escape_glob
from export import (
    grafana,
    kubernetes,
    mimir,
    prometheus,
    thanos,
    victoriametrics,
    viewer_site,
)
from export.options import (
    InvalidOptionError,
    Options,
    ScrapedService,
    read_changes,
    read_labels,
)
from export.unread import unread
from rules.engine import Engine
from rules.identity import Identity

Files = dict[str, str]
_MADE = ".made-by-vitals"
"""A file with the names of those that the last export wrote."""
_ENGINES = {"victoriametrics": Engine.VICTORIAMETRICS}
"""Of formats whose engine is not Prometheus' own."""


def main(arguments: Sequence[str] | None = None, *, command: str = "python -m export") -> int:
    """Run the command; returns the exit code.

    Args:
        arguments: Of the command line; by default those of this process.
        command: How the user has called it, for its help.
    """
    chosen = _parser(command).parse_args(arguments)
    try:
        options = _options(chosen)
        files = FORMATS[chosen.format](options, chosen)
        if chosen.viewer:
            viewer_site.check(chosen.to)
        removed = write(chosen.to, files)
        if chosen.viewer:
            viewer_site.publish(chosen.to, options)
    except (ValueError, OSError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    print(f"wrote {len(files)} files to {chosen.to}: read {chosen.to / 'README.md'}")
    if chosen.drop_unread:
        print(f"scrapes drop what nothing reads: {', '.join(unread())}")
    if removed:
        print(f"removed {removed} that an earlier export wrote")
    return 0


def write(folder: Path, files: Files) -> int:
    """Write files; returns how many of an earlier export, which are none of them now, it removed.

    Raises:
        InvalidOptionError: The folder has a file of the same name that no export wrote.
    """
    record = folder / _MADE
    before = {*record.read_text("utf-8").splitlines()} if record.exists() else set()
    if foreign := sorted(name for name in {*files} - before if (folder / name).exists()):
        raise InvalidOptionError(
            f"{folder / foreign[0]} is there and no export wrote it: choose another folder"
        )
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    old = before - {*files}
    for name in old:
        (folder / name).unlink(missing_ok=True)
    record.write_text("".join(f"{name}\n" for name in sorted(files)), "utf-8")
    return len(old)


def _options(chosen: argparse.Namespace) -> Options:
    if chosen.format != "prometheus" and (chosen.viewer or chosen.prometheus):
        raise InvalidOptionError("--prometheus and --viewer are of --for prometheus alone")
    given = chosen.target or chosen.job or chosen.token_file
    token = str(chosen.token_file.absolute()) if chosen.token_file else ""
    return Options(
        identity=Identity.parse(chosen.identity),
        labels=read_labels(chosen.label),
        without=frozenset(chosen.without),
        changes=read_changes(chosen.set),
        folder=chosen.folder,
        datasource=chosen.datasource,
        namespace=chosen.namespace,
        boards=chosen.boards,
        runbooks=chosen.runbooks,
        engine=_ENGINES.get(chosen.format, Engine.PROMETHEUS),
        drop_unread=chosen.drop_unread,
        service=ScrapedService(chosen.job, tuple(chosen.target), token) if given else None,
    )


def _for_prometheus(options: Options, chosen: argparse.Namespace) -> Files:
    return prometheus.files(
        options,
        chosen.page,
        chosen.ticket,
        alertmanager=chosen.alertmanager.read_text("utf-8") if chosen.alertmanager else "",
        prometheus=chosen.prometheus.read_text("utf-8") if chosen.prometheus else None,
        folder=escape_glob(str(chosen.to.absolute())),
    )


def _for_kubernetes(options: Options, chosen: argparse.Namespace) -> Files:
    labels = read_labels(chosen.object_label)
    return kubernetes.files(options, chosen.page, chosen.ticket, labels)


FORMATS: dict[str, Callable[[Options, argparse.Namespace], Files]] = {
    "prometheus": _for_prometheus,
    "grafana": lambda options, _chosen: grafana.files(options),
    "mimir": lambda options, chosen: mimir.files(options, chosen.page, chosen.ticket),
    "thanos": lambda options, chosen: thanos.files(options, chosen.page, chosen.ticket),
    "victoriametrics": lambda options, chosen: victoriametrics.files(
        options, chosen.page, chosen.ticket
    ),
    "kubernetes": _for_kubernetes,
}
"""What writes the files of each format."""


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=command,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--for", dest="format", choices=FORMATS, required=True, help="which system")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--identity",
        default="job",
        metavar="LABELS",
        help="labels that tell services apart, such as cluster,namespace,job (default: job)",
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a label of each alert, such as that of your team's route",
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="ALERT", help="leave an alert out"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="ALERT.FIELD=VALUE",
        help="change for, keep_firing_for or severity of an alert: RouteSlow.for=10m",
    )
    parser.add_argument(
        "--drop-unread",
        action="store_true",
        help="let scrape.yml drop the metrics that no rule, board or runbook reads; names them",
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="an instance of your service, to be scraped; may be given several times",
    )
    parser.add_argument("--job", default="", metavar="NAME", help="the name of that service")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="the bearer token of its /metrics"
    )
    parser.add_argument(
        "--prometheus",
        type=Path,
        metavar="FILE",
        help="your prometheus.yml; a copy with our rules and that service is written",
    )
    parser.add_argument(
        "--viewer",
        action="store_true",
        help=f"also write {viewer_site.NAME}/: boards that Prometheus serves itself, without "
        "Grafana (--web.user-assets)",
    )
    parser.add_argument("--page", default="page", metavar="RECEIVER", help="receiver of pages")
    parser.add_argument("--ticket", default="ticket", metavar="RECEIVER", help="of tickets")
    parser.add_argument(
        "--alertmanager",
        type=Path,
        metavar="FILE",
        help="your alertmanager.yml; a copy with our routes is written",
    )
    parser.add_argument("--boards", default="", metavar="URL", help="Grafana, for links of alerts")
    parser.add_argument(
        "--runbooks", default="", metavar="URL", help="where alerts/runbooks/ is served, likewise"
    )
    parser.add_argument("--folder", default="Vitals", help="title of Grafana's folder")
    parser.add_argument(
        "--datasource", default="prometheus", metavar="UID", help="Grafana's data source"
    )
    parser.add_argument("--namespace", default="monitoring", help="Kubernetes' namespace")
    parser.add_argument(
        "--object-label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a label of each Kubernetes object, such as release=prometheus",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
