"""Text of what ``vitals memory`` has found."""

from typing import Any


def show(found: list[dict[str, Any]]) -> None:
    """Print what grew."""
    for one in found:
        _show_process(one)
        _show_sites(one)
        _show_containers(one["containers"])
        _show_types(one)


def _show_process(one: dict[str, Any]) -> None:
    early = ", which had seen enough" if one["ended_early"] else ""
    print(f"process {one['pid']}, {one['seconds']:.1f} s{early}")
    resident, limit = one["resident_bytes"], one["limit"]
    if resident is not None:
        of = ""
        if limit is not None:
            whose = "of its cgroup" if limit["scope"] == "cgroup" else "of the machine"
            of = f"; {_size(limit['used_bytes'])} of {_size(limit['limit_bytes'])} {whose} in use"
        print(f"resident: {_size(resident)}{of}")
    print(f"Python's objects: {_signed(one['python_bytes_grown'])}")
    if one["other_bytes_grown"] is None:
        print("memory that is not in Python's objects: unknown on this system")
    elif one["other_bytes_grown"]:
        print(
            f"not in Python's objects: {_signed(one['other_bytes_grown'])}: of a library in C, or "
            "freed and not returned to the system"
        )


def _show_sites(one: dict[str, Any]) -> None:
    print("\nlines that allocated what stays in use:")
    if not one["sites"]:
        print("  none")
    for each in one["sites"]:
        kind = f" of {each['type']}" if each["type"] else ""
        called = f", in {each['called']}" if each["called"] else ""
        print(
            f"  {_signed(each['bytes']):>10}  {each['blocks']:>8,} blocks{kind}  "
            f"{each['path']}:{each['line']} in {each['function']}{called}"
        )


def _show_containers(containers: list[dict[str, Any]]) -> None:
    print("\ncontainers with more entries:")
    if not containers:
        print("  none that the application's modules reach")
    for each in containers:
        print(
            f"  {each['grown']:>+10,}  to {each['entries']:,} entries of {each['holds']}  "
            f"{each['name']} ({each['type']})"
        )


def _show_types(one: dict[str, Any]) -> None:
    print("\ntypes with more objects:")
    if one["types"] is None:
        print(
            f"  not counted: to count {one['python_blocks']:,} blocks would hold the process too "
            "long"
        )
    elif not one["types"]:
        print("  none that the garbage collector knows")
    for each in one["types"] or ():
        print(f"  {each['objects']:>+10,}  {each['type']}")


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.0f} B"


def _signed(count: float) -> str:
    return f"+{_size(count)}" if count > 0 else _size(count)
