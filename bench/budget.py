"""What the benchmarks promise: ratios that a run may not exceed, in `budget.json` by benchmark."""

import json
from collections.abc import Mapping
from pathlib import Path

_FILE = Path(__file__).with_name("budget.json")


def of(benchmark: str) -> dict[str, float]:
    """The limits of one benchmark, by the name of the ratio."""
    limits: dict[str, float] = json.loads(_FILE.read_text())[benchmark]
    return limits


def broken(ratios: Mapping[str, float], budget: Mapping[str, float]) -> list[str]:
    """What is above its limit, and what has a limit but was not measured."""
    found = [f"{name} was not measured" for name in budget if name not in ratios]
    for name, most in budget.items():
        if ratios.get(name, 0.0) > most:
            found.append(f"{name} is {ratios[name]:.3f}, at most {most} was promised")
    return found
