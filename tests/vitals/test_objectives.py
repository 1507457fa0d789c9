import re

import pytest

from vitals.objectives import DEFAULTS, Objective, Objectives, Slo


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"slo": "speed", "ratio": 0.9}, "use one of availability, latency, queries"),
        ({"slo": "availability", "ratio": 1.0}, "between 0 and 1"),
        ({"slo": "availability", "ratio": 99.9}, "0.999 means"),
        ({"slo": "availability", "ratio": 0.9, "within": 1.0}, "takes no within"),
        ({"slo": "latency", "ratio": 0.9}, "number of seconds above 0"),
        ({"slo": "latency", "ratio": 0.9, "within": float("nan")}, "number of seconds above 0"),
        (
            {"slo": "latency", "ratio": 0.9, "within": 0.1, "route": "orders"},
            "a template such as",
        ),
        (
            {"slo": "queries", "ratio": 0.9, "within": 0.1, "route": "/a"},
            "queries have no route",
        ),
    ],
)
def test_invalid_options_raise_with_a_hint(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Objective(**fields)  # type: ignore[arg-type]


def test_a_duplicate_objective_raises() -> None:
    twice = [Objective("availability", ratio=0.9), Objective("availability", ratio=0.99)]
    with pytest.raises(ValueError, match="declared twice for the whole service"):
        Objectives(twice)


def test_route_objectives_take_precedence_over_defaults() -> None:
    objectives = Objectives([Objective("latency", ratio=0.9, within=2.0, route="/slow")])
    assert objectives.of(Slo.LATENCY, "/slow").within == 2.0
    assert objectives.of(Slo.LATENCY, "/other").within == 0.25
    assert objectives.thresholds(Slo.LATENCY) == (0.25, 2.0)
    assert set(DEFAULTS) < set(objectives)


ROUTES = ("/orders", "/orders/{order}", "/users/{user}", "/files/{path}")


@pytest.mark.parametrize(
    ("route", "near"),
    [
        ("/order", "/orders"),
        ("/orders/{id}", "/orders/{order}"),
        ("/orders/", "/orders"),
        ("/files/{path:path}", "/files/{path}"),
    ],
)
def test_a_misspelt_route_is_an_error_that_names_the_nearest(route: str, near: str) -> None:
    objectives = Objectives([Objective("latency", ratio=0.9, within=1.0, route=route)])
    with pytest.raises(ValueError, match=f"did you mean .*{re.escape(near)}") as caught:
        objectives.check_routes(ROUTES)
    assert repr(route) in str(caught.value)


def test_an_unlike_route_is_an_error_and_known_ones_are_none() -> None:
    unlike = Objectives([Objective("availability", ratio=0.9, route="/zzz")])
    with pytest.raises(ValueError, match="no route is like it"):
        unlike.check_routes(ROUTES)
    Objectives(Objective("availability", ratio=0.9, route=route) for route in ROUTES).check_routes(
        ROUTES
    )
