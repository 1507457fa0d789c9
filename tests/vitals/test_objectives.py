import pytest

from vitals.objectives import DEFAULTS, Objective, Objectives, Slo


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"slo": "speed", "target": 0.9}, "use one of availability, latency, queries"),
        ({"slo": "availability", "target": 1.0}, "between 0 and 1"),
        ({"slo": "availability", "target": 99.9}, "0.999 means"),
        ({"slo": "availability", "target": 0.9, "threshold": 1.0}, "takes no threshold"),
        ({"slo": "latency", "target": 0.9}, "number of seconds above 0"),
        ({"slo": "latency", "target": 0.9, "threshold": float("nan")}, "number of seconds above 0"),
        (
            {"slo": "latency", "target": 0.9, "threshold": 0.1, "route": "orders"},
            "a template such as",
        ),
        (
            {"slo": "queries", "target": 0.9, "threshold": 0.1, "route": "/a"},
            "queries have no route",
        ),
    ],
)
def test_invalid_options_raise_with_a_hint(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Objective(**fields)  # type: ignore[arg-type]


def test_a_duplicate_objective_raises() -> None:
    twice = [Objective("availability", target=0.9), Objective("availability", target=0.99)]
    with pytest.raises(ValueError, match="declared twice for the whole service"):
        Objectives(twice)


def test_route_objectives_take_precedence_over_defaults() -> None:
    objectives = Objectives([Objective("latency", target=0.9, threshold=2.0, route="/slow")])
    assert objectives.of(Slo.LATENCY, "/slow").threshold == 2.0
    assert objectives.of(Slo.LATENCY, "/other").threshold == 0.25
    assert objectives.thresholds(Slo.LATENCY) == (0.25, 2.0)
    assert set(DEFAULTS) < set(objectives)
