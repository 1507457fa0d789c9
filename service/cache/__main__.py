"""``python -m service.cache estimate``: how much memory the cache needs."""

import argparse
import sys

from redis import Redis
from redis.exceptions import RedisError

from service.cache.estimate import Estimate, measure
from service.settings import Settings


def main() -> int:
    """Run the command: 0 if what is needed fits, 1 if not or if Redis cannot be asked."""
    options = _parser().parse_args()
    settings = Settings()
    url = options.redis_url or settings.redis_url
    if not url.startswith(("redis://", "rediss://", "unix://")):
        print("name one Redis with --redis-url or SERVICE_REDIS_URL, such as redis://localhost")
        return 1
    secret = {} if options.redis_url else {"password": settings.redis_password()}
    try:
        with Redis.from_url(
            url, **{name: value for name, value in secret.items() if value}
        ) as client:
            estimate = measure(client, dict(options.keys))
    except RedisError as error:
        print(f"redis does not answer: {error}", file=sys.stderr)
        return 1
    if unknown := dict(options.keys).keys() - estimate.shares.keys():
        print(f"nothing to measure in {', '.join(sorted(unknown))}: use it for a while first")
        return 1
    return _tell(estimate)


def _tell(estimate: Estimate) -> int:
    if not estimate.shares:
        print("there are no cached values to measure: use the service for a while first")
        return 1
    print(f"{'namespace':<16} {'keys':>10} {'bytes each':>11} {'MiB':>9}")
    for name, share in estimate.shares.items():
        row = f"{share.keys:>10,} {share.bytes_each:>11,.0f} {share.total / 2**20:>9,.2f}"
        print(f"{name:<16} {row}")
    needed, limit = estimate.total / 2**20, estimate.limit / 2**20
    print(f"needed {needed:,.1f} MiB; Redis uses {estimate.used / 2**20:,.1f} MiB now")
    if not estimate.limit:
        print("maxmemory is not set: set it, and maxmemory-policy volatile-lfu")
        return 1
    print(f"maxmemory is {limit:,.0f} MiB ({needed / limit:.0%} needed), {estimate.policy}")
    return 0 if needed <= limit and estimate.policy.startswith("volatile-") else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m service.cache",
        description="The cache in Redis.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    estimate = commands.add_parser(
        "estimate",
        help="measure what values take, and say what is needed",
        description="Measure a sample of the values in Redis and say how much memory is needed, "
        "a reserve of 30 % included. It only reads.",
    )
    estimate.add_argument("--redis-url", metavar="URL", help="instead of SERVICE_REDIS_URL")
    estimate.add_argument(
        "--keys",
        action="append",
        default=[],
        type=_keys,
        metavar="NAMESPACE=N",
        help="so many keys will there be, such as product=100000",
    )
    return parser


def _keys(text: str) -> tuple[str, int]:
    name, _, count = text.partition("=")
    return name, int(count)


if __name__ == "__main__":
    sys.exit(main())
