"""Budgets of the benchmarks: ratios that a run may not exceed, in `budget.json` by benchmark."""

import json
from collections.abc import Mapping
from pathlib import Path

_FILE = Path(__file__).with_name("budget.json")


def of(benchmark: str) -> dict[str, float]:
    """The budget of one benchmark, by the name of the ratio."""
    limits: dict[str, float] = json.loads(_FILE.read_text())[benchmark]
    return limits


def exceeded(ratios: Mapping[str, float], budget: Mapping[str, float]) -> list[str]:
    """Ratios that exceed their budget, and ratios with a budget that were not measured."""
    found = [f"{name} was not measured" for name in budget if name not in ratios]
    for name, most in budget.items():
        if ratios.get(name, 0.0) > most:
            found.append(f"{name} is {ratios[name]:.3f}, over the budget of {most}")
    return found
