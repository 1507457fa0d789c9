"""A simulated month of a service's metrics, minute by minute.

It has the rhythm of days and weeks, chance failures and slow calls, releases, scrape gaps and a
slow job each Sunday; in its last day faults follow one another.
"""

import math
import random
from collections.abc import Iterator
from typing import NamedTuple

MINUTE, HOUR, DAY = 60, 3600, 86400
SEED = 17
SUNDAY = 3
"""The day of the week, counted from the Thursday with which Unix time begins."""
FEW = 20
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
FAULT_MINUTES, BETWEEN = 40, 100
"""Minutes that a fault lasts, and from the begin of one to that of the next."""


class Route(NamedTuple):
    """A route and method: requests a minute at noon, median seconds, queries a request."""

    method: str
    path: str
    rate: float
    median: float
    queries: float
    failing: float = 0.0004
    statement: str = ""


ROUTES = (
    Route("GET", "/products", 900, 0.02, 2, statement="products"),
    Route("GET", "/products/{id}", 1500, 0.008, 1, statement="product"),
    Route("POST", "/orders", 40, 0.06, 5, statement="order"),
    Route("GET", "/orders", 90, 0.03, 3, statement="orders"),
    Route("POST", "/login", 20, 0.12, 1, statement="user"),
    Route("GET", "/reports", 1, 0.1, 4, statement="report"),
    Route("POST", "/refunds", 1, 0.05, 3, statement="refund"),
)
SERVERS = {"payments": ("/orders", 0.08, 0.002), "mail": ("/login", 0.15, 0.004)}
"""What a route's requests call: the route, the mean seconds, the share that fails."""
STATEMENTS = {"products": 0.006, "product": 0.0008, "order": 0.002, "orders": 0.003, "user": 0.001,
              "report": 0.02, "refund": 0.002}  # fmt: skip
"""Mean seconds of each statement."""


class Fault(NamedTuple):
    """A fault of the last day, and the alerts of which one must tell it within ten minutes.

    The other attributes replace those of a route, of its statement or of a server, if they are set.
    """

    name: str
    alerts: frozenset[str]
    route: tuple[str, str] = ("", "")
    server: str = ""
    failing: float = 0.0
    more_seconds: float = 0.0
    queries: float = 0.0
    statement_seconds: float = 0.0
    server_seconds: float = 0.0


NONE = Fault("", frozenset())
FAULTS = (
    Fault(
        "two percent of GET /products raise KeyError",
        frozenset({"RouteErrors"}),
        ("GET", "/products"),
        failing=0.02,
    ),
    Fault(
        "every POST /refunds fails, one a minute",
        frozenset({"RouteFails"}),
        ("POST", "/refunds"),
        failing=1,
    ),
    Fault(
        "every GET /reports takes a second more, one a minute",
        frozenset({"RouteSlow"}),
        ("GET", "/reports"),
        more_seconds=1,
    ),
    Fault(
        "an index is dropped: a query of GET /products takes 40 ms",
        frozenset({"StatementSlower", "RouteSlow"}),
        ("GET", "/products"),
        more_seconds=0.08,
        statement_seconds=0.04,
    ),
    Fault(
        "GET /orders sends 23 queries instead of 3",
        frozenset({"QueriesMultiplied"}),
        ("GET", "/orders"),
        more_seconds=0.04,
        queries=23,
    ),
    Fault(
        "payments takes 3 s",
        frozenset({"DependencySlow", "RouteSlow"}),
        ("POST", "/orders"),
        "payments",
        more_seconds=3,
        server_seconds=3,
    ),
    Fault(
        "a third of the requests to mail fails",
        frozenset({"DependencyFails"}),
        server="mail",
        failing=1 / 3,
    ),
)


def _count(chance: random.Random, mean: float) -> int:
    """A number of events: Poisson's distribution, and the normal one where there are many."""
    if mean > 30:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    number, product, limit = 0, chance.random(), math.exp(-mean)
    while product > limit:
        number += 1
        product *= chance.random()
    return number


def _share(chance: random.Random, number: int, share: float) -> int:
    """How many of a number, by chance."""
    return min(number, _count(chance, number * share)) if share < 1 else number


class Month:
    """The series of one instance, minute by minute.

    Args:
        days: Its length.
        end: Unix time of its end, a midnight.
    """

    def __init__(self, days: int, end: int) -> None:
        self.days, self.begin, self.end = days, end - days * DAY, end
        self._chance = random.Random(SEED)
        self._counters: dict[str, float] = {}
        self._started = self.begin - HOUR
        last = self.end - DAY + 8 * HOUR
        self.faults = [(last + n * BETWEEN * MINUTE, fault) for n, fault in enumerate(FAULTS)]

    def _fault(self, now: int) -> Fault:
        """The fault that lasts."""
        for begin, fault in self.faults:
            if begin <= now < begin + FAULT_MINUTES * MINUTE:
                return fault
        return NONE

    def _traffic(self, now: int) -> float:
        """The share of the traffic of noon: nights are quiet, weekends half as busy."""
        hour, weekday = now % DAY / HOUR, now // DAY % 7
        day = 0.5 - 0.45 * math.cos((hour - 2) / 24 * 2 * math.pi)
        return (
            day * (0.55 if weekday in {SUNDAY - 1, SUNDAY} else 1) * self._chance.uniform(0.9, 1.1)
        )

    def _add(self, series: str, amount: float) -> None:
        self._counters[series] = self._counters.get(series, 0.0) + amount

    def minutes(self, first: int, last: int) -> Iterator[str]:
        """Lines of OpenMetrics; called for one day after another."""
        for now in range(first, last, MINUTE):
            released = now // DAY % 7 in {5, 0} and now % DAY == 14 * HOUR
            if released:
                self._counters = dict.fromkeys(self._counters, 0.0)
                self._started = now
            self._minute(now)
            gap = now // DAY % 10 == 4 and 4 * HOUR <= now % DAY < 4 * HOUR + 5 * MINUTE
            if not gap:
                yield from self._sampled(now)

    def _minute(self, now: int) -> None:
        fault, traffic = self._fault(now), self._traffic(now)
        warming = 1 + 3 * max(0.0, 1 - (now - self._started) / (3 * MINUTE))
        slower = warming * (1 + 0.5 * traffic)
        nightly = 4 if now // DAY % 7 == SUNDAY and 3 * HOUR <= now % DAY < 4 * HOUR else 1
        for route in ROUTES:
            hit = fault if fault.route == (route.method, route.path) else NONE
            requests = self._arriving(route, traffic, hit)
            batch = nightly if route.path == "/reports" else 1
            failing = hit.failing or self._failing(route, requests)
            self._requests(route, requests, failing, route.median * slower * batch, hit)
            self._queries(route, requests, slower, hit)
        for server, (path, seconds, failing) in SERVERS.items():
            hit = fault if fault.server == server else NONE
            rate = next(route.rate for route in ROUTES if route.path == path)
            calls = _count(self._chance, rate * traffic)
            taken = hit.server_seconds or seconds * self._chance.uniform(0.8, 1.3)
            self._calls(server, calls, taken, hit.failing or failing)

    def _arriving(self, route: Route, traffic: float, fault: Fault) -> int:
        """The requests of a minute; one a minute for a fault of a route of one a minute."""
        if route.rate > 1:
            return _count(self._chance, route.rate * traffic)
        return 1 if fault is not NONE else _count(self._chance, min(1, 2 * traffic))

    def _failing(self, route: Route, requests: int) -> float:
        """Chance, and every few days three failures of one person's input within a minute."""
        if self._chance.random() < 1 / (3 * 24 * 60):
            return max(route.failing, min(1.0, 3 / max(requests, 1)))
        return route.failing

    def _requests(
        self, route: Route, requests: int, failing: float, median: float, fault: Fault
    ) -> None:
        chance, name = self._chance, "http_server_request_duration_seconds"
        labels = f'http_request_method="{route.method}",http_route="{route.path}"'
        failed = _share(chance, requests, failing)
        for number, status, error in ((requests - failed, "200", ""), (failed, "500", "KeyError")):
            own = f'{labels},http_response_status_code="{status}",error_type="{error}"'
            if not number and f"{name}_count{{{own}}}" not in self._counters:
                continue  # a series begins with its first request
            self._add(f"{name}_count{{{own}}}", number)
            seconds = number * (median * 1.15 + fault.more_seconds) * chance.uniform(0.9, 1.2)
            if number and chance.random() < 1 / 720:
                seconds += 2.0  # one slow request, twice a day
            self._add(f"{name}_sum{{{own}}}", seconds)
            for bound in BOUNDS:
                fast = self._up_to(bound, number, median + fault.more_seconds)
                self._add(f'{name}_bucket{{{own},le="{bound}"}}', fast)
            self._add(f'{name}_bucket{{{own},le="+Inf"}}', number)
        for outcome, number in (("good", requests - failed), ("bad", failed)):
            events = f'slo="availability",http_route="{route.path}",outcome="{outcome}"'
            self._add(f"slo_events_total{{{events}}}", number)

    def _up_to(self, bound: float, number: int, median: float) -> int:
        """How many of a number of lognormal durations are within a bound."""
        share = 0.5 * (1 + math.erf(math.log(bound / median) / 0.5 / math.sqrt(2)))
        if number > FEW:
            return min(number, round(number * share))
        # Of few, the same share on average; the bounds need not be of one and the same request.
        return min(number, int(number * share + self._chance.random()))

    def _queries(self, route: Route, requests: int, slower: float, fault: Fault) -> None:
        name = "db_client_queries_per_request"
        self._add(f'{name}_count{{http_route="{route.path}"}}', requests)
        queries = requests * (fault.queries or route.queries)
        self._add(f'{name}_sum{{http_route="{route.path}"}}', queries)
        mean = STATEMENTS[route.statement] * slower * self._chance.uniform(0.85, 1.2)
        seconds = requests * (fault.statement_seconds or mean)
        if requests and self._chance.random() < 1 / (24 * 60):
            seconds += 1.0  # one waits a second for a lock, once a day
        own = f'db_query_fingerprint="{route.statement}"'
        self._add(f"db_client_operation_duration_seconds_count{{{own}}}", requests)
        self._add(f"db_client_operation_duration_seconds_sum{{{own}}}", seconds)

    def _calls(self, server: str, calls: int, seconds: float, failing: float) -> None:
        name, failed = "http_client_request_duration_seconds", _share(self._chance, calls, failing)
        for number, error in ((calls - failed, ""), (failed, "ReadTimeout")):
            own = f'server_address="{server}",error_type="{error}"'
            self._add(f"{name}_count{{{own}}}", number)
            self._add(f"{name}_sum{{{own}}}", number * seconds)

    def _sampled(self, now: int) -> Iterator[str]:
        who = 'job="api",instance="api-1:8000"'
        for series, value in self._counters.items():
            name, _, labels = series.partition("{")
            yield f"{name}{{{who},{labels} {value:.9g} {now}"
        yield f"process_start_time_seconds{{{who}}} {self._started} {now}"
        yield f'slo_target_ratio{{{who},slo="availability",http_route=""}} 0.999 {now}'
        yield f'slo_target_ratio{{{who},slo="latency",http_route=""}} 0.95 {now}'
        yield f'slo_threshold_seconds{{{who},slo="latency",http_route=""}} 0.25 {now}'
