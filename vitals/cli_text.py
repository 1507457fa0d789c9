"""Text of what the command ``vitals`` has found."""

from time import time
from typing import Any


def show_bottlenecks(found: list[dict[str, Any]]) -> None:
    """Print statements with their routes and advice."""
    if not found:
        print("no statements yet")
    for number, one in enumerate(found, 1):
        print(
            f"{number:3}. {one['share']:4.0%}  {one['seconds']:.3f} s = {one['calls']} x "
            f"{one['mean'] * 1e3:.2f} ms (p95 {one['p95'] * 1e3:.1f} ms, slowest "
            f"{one['slowest'] * 1e3:.1f} ms)  {one['summary']}"
        )
        print(f"     {one['text']}")
        for share in one["routes"]:
            where = share["route"] or "outside requests"
            print(
                f"     {where}: {share['calls']} calls, {share['seconds']:.3f} s, {share['source']}"
            )
        for advice in one["advice"]:
            print(f"     > {advice}")


def show_plans(found: list[dict[str, Any]]) -> None:
    """Print plans."""
    if not found:
        print("no plans yet: statements are explained when they are slow")
    for one in found:
        print(
            f"{one['summary']}  mean {one['mean'] * 1e3:.2f} ms, p95 {one['p95'] * 1e3:.1f} ms, "
            f"plan shape {one['plan']['shape']}, taken {_age(one['plan'])}\n  {one['text']}"
        )
        for line in one["plan"]["lines"]:
            print(f"    {line}")
        for advice in one["advice"]:
            print(f"  > {advice}")


def show_indexes(found: list[dict[str, Any]]) -> None:
    """Print findings of the index audit."""
    if not found:
        print("no findings: no unused or duplicate index, no foreign key without an index")
    for one in found:
        print(f"{one['kind']:10} {one['table'] or 'indexes'}  {one['index']}".rstrip())
        print(f"           {one['reason']}\n           {one['remedy']}")


def show_advice(found: list[dict[str, Any]]) -> None:
    """Print index advice."""
    for one in found:
        print(f"estimated cost {one['cost_before']:.0f}", end="")
        if one["indexes"]:
            size = f"about {one['bytes'] / 1e6:.1f} MB"
            print(f", {one['cost_after']:.0f} with these indexes ({size}):")
        else:
            print(": no index is advised")
        for statement in one["indexes"]:
            print(f"  {statement};")
        for note in one["notes"]:
            print(f"  > {note}")


def _age(plan: dict[str, Any]) -> str:
    seconds = max(0.0, time() - plan["taken"])
    for unit, length in (("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
