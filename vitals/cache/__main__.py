"""``python -m vitals.cache estimate``: how much memory the cache needs."""

import argparse
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import RedisError

from vitals.cache.memory_estimate import Estimate, measure, spread
from vitals.cache.redis.url import RedisUrl

REDIS_URL = "REDIS_URL"
MIB = 2**20
MOST_MASTERS = 1000


def main() -> int:
    """Run the command: 0 if the limit suffices, 1 if not or if Redis is unavailable."""
    options = _parser().parse_args()
    url = options.redis_url or os.environ.get(REDIS_URL, "")
    wanted: dict[str, int] = dict(options.keys)
    try:
        file = options.password_file
        password = None if file is None else file.read_text().strip()
        estimates = _estimates(url, password, wanted, options.masters)
    except (ValueError, OSError) as error:
        print(f"set --redis-url or {REDIS_URL}: {error}", file=sys.stderr)
        return 1
    except RedisError as error:
        print(f"redis unavailable: {error}", file=sys.stderr)
        return 1
    known = {name for estimate in estimates.values() for name in estimate.shares}
    if not known:
        print("no cached values to measure: use the service for a while first")
        return 1
    if unknown := wanted.keys() - known:
        print(f"nothing to measure in {', '.join(sorted(unknown))}: use it for a while first")
        return 1
    fits = [_print_estimate(where, estimate) for where, estimate in estimates.items()]
    return 0 if all(fits) else 1


def _estimates(
    url: str, password: str | None, wanted: Mapping[str, int], masters: int
) -> dict[str, Estimate]:
    """Estimate each server by name; the name of a single Redis is empty."""
    kind = RedisUrl.parse(url, password).kind
    if kind == "sentinel":
        raise ValueError("use the master's URL, not the Sentinels'")
    secret = {} if password is None else {"password": password}
    if kind == "cluster":
        return _of_cluster(url, wanted, secret)
    with Redis.from_url(url, **secret) as client:
        if masters == 1:
            return {"": measure(client, wanted)}
        found = spread(client, wanted, masters)
    return {f"master {number} of {masters}": each for number, each in enumerate(found, 1)}


def _of_cluster(
    url: str, wanted: Mapping[str, int], secret: Mapping[str, str]
) -> dict[str, Estimate]:
    login, at, hosts = url.replace("+cluster://", "://", 1).rpartition("@")
    first = re.sub(",[^/?]*", "", hosts, count=1)  # it knows the others
    with RedisCluster.from_url(f"{login}{at}{first}", **secret) as cluster:
        slots = cluster.nodes_manager.slots_cache
        holders = [nodes[0].name for nodes in slots.values()]
        return {
            node.name: measure(
                cluster.get_redis_connection(node), wanted, holders.count(node.name) / len(holders)
            )
            for node in sorted(cluster.get_primaries(), key=lambda node: str(node.name))
        }


def _print_estimate(where: str, estimate: Estimate) -> bool:
    """Print a server's estimate; return whether its limit suffices."""
    if where:
        print(f"\n{where}")
    print(f"{'namespace':24} {'keys':>12} {'bytes each':>12} {'MiB':>12}")
    for name, share in estimate.shares.items():
        total = share.total / MIB
        print(f"{name:24} {share.keys:12,} {share.bytes_each:12,.0f} {total:12,.2f}")
    needed, limit = estimate.total / MIB, estimate.limit
    print(f"needed: maxmemory {int(needed) + 1}mb")
    if limit is None:
        return True
    print(f"Redis uses {limit.used / MIB:,.1f} MiB now")
    if not limit.bytes:
        print("maxmemory is not set: set it, and maxmemory-policy volatile-lfu")
        return False
    part = estimate.total / limit.bytes
    print(f"maxmemory is {limit.bytes / MIB:,.0f} MiB ({part:.0%} needed), {limit.policy}")
    return part <= 1 and limit.policy.startswith("volatile-")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vitals.cache",
        description="The cache in Redis.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    estimate = commands.add_parser(
        "estimate",
        help="estimate the memory that the cache needs",
        description="Measure a sample of the values in Redis and estimate the memory needed, "
        "including a reserve of 30 %; for a cluster, by master. It only reads.",
    )
    estimate.add_argument("--redis-url", metavar="URL", help=f"instead of {REDIS_URL}")
    estimate.add_argument(
        "--password-file", metavar="FILE", type=Path, help="the password, if the URL has none"
    )
    estimate.add_argument(
        "--keys",
        action="append",
        default=[],
        type=_keys,
        metavar="NAMESPACE=N",
        help="expected keys of a namespace, such as product=100000",
    )
    estimate.add_argument(
        "--masters",
        type=_masters,
        default=1,
        metavar="N",
        help="estimate each of N masters, if one Redis became a cluster",
    )
    return parser


def _keys(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    return name, int(count)


def _masters(text: str) -> int:
    if not 1 <= int(text) <= MOST_MASTERS:
        raise argparse.ArgumentTypeError(f"from 1 to {MOST_MASTERS}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
