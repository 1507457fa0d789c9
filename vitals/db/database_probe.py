"""Probe of databases: statements, pools, plans of slow statements, the bottlenecks page."""

from collections.abc import Sequence

from vitals.db.dialect_hook import AnyEngine
from vitals.db.insight.bottlenecks_page import PATH, Admin, BottleneckPage
from vitals.db.insight.explain import Explain
from vitals.db.pool import PoolProbe
from vitals.db.probe import QueryProbe
from vitals.db.sqlcommenter import SqlCommenter, add_comments
from vitals.db.statements.query_log import QueryLog
from vitals.host import Host


class DatabaseProbe:
    """Measures the statements and pools of engines.

    Args:
        engines: The engines.
        explain: Whether slow statements are explained, and how.
        sqlcommenter: Whether statements carry a comment with the service's name and the route.
        admin: Who may read the bottlenecks page; None disables it.

    Raises:
        ValueError: ``explain`` is invalid.
    """

    def __init__(
        self,
        engines: Sequence[AnyEngine],
        *,
        explain: Explain = True,
        sqlcommenter: bool = False,
        admin: Admin | None = None,
    ) -> None:
        if explain not in {True, False, "analyze"}:
            raise ValueError(f"explain {explain!r} must be True, False or 'analyze'")
        self._engines = engines
        self._explain = explain
        self._sqlcommenter = sqlcommenter
        self._admin = admin

    def attach(self, host: Host) -> None:
        """Instrument the engines, if there are any."""
        if not self._engines:
            return
        host.queries = True
        log = QueryLog(host.routes, host.meter.dropped, host.service_name) if host.logs else None
        probe = QueryProbe(host.meter, host.objectives, host.make_span, log, explain=self._explain)
        self._instrument_engines(host, probe)
        host.on_finished(probe.finish)
        if self._explain:
            host.lifespan(probe.explain_worker.running)
        if self._admin is not None:
            samples = probe.explain_worker.lock_sampler if self._explain else None
            page = BottleneckPage(
                probe.statement_stats, probe.plans, host.meter, self._admin, samples
            )
            host.serve(PATH, page)

    def _instrument_engines(self, host: Host, probe: QueryProbe) -> None:
        comments = (
            SqlCommenter(host.service_name, host.routes, host.meter) if self._sqlcommenter else None
        )
        names: dict[str, int] = {}
        for engine in self._engines:
            if comments is not None:
                add_comments(engine, comments)  # first: the probe sees statements without
            probe.instrument(engine)
            name = (engine.url.database or engine.dialect.name).rsplit("/", 1)[-1]
            names[name] = names.get(name, 0) + 1
            PoolProbe(host.meter, engine, name if names[name] == 1 else f"{name}-{names[name]}")
