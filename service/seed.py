"""Command that fills the database with sample data: ``python -m service.seed --orders 20000``."""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.db.database import connect
from service.errors import UnavailableError
from service.sample_data.bulk_load import Advance, NotEmptyError, fill
from service.sample_data.generator import Shop
from service.secret_files import SecretError, made_secret
from service.settings import Settings
from service.users.passwords import Passwords

QUIET_SECONDS = 10.0
"""Interval of progress lines without a terminal."""
SECRETS = Path("var/secrets")
BAR = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


@contextmanager
def progress(orders: int) -> Iterator[Advance]:
    """Show the progress on stderr: a bar on a terminal, else a line at intervals."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Progress(*BAR, console=console) as bar:
            task = bar.add_task("orders", total=orders)
            yield lambda count: bar.advance(task, count)
        return
    done, printed = 0, time.monotonic()

    def advance(count: int) -> None:
        nonlocal done, printed
        done += count
        if time.monotonic() - printed >= QUIET_SECONDS:
            printed = time.monotonic()
            print(f"seeding: {done:,} of {orders:,} orders", file=sys.stderr, flush=True)

    yield advance


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m service.seed",
        description="Fill the database with sample users, products and orders.",
    )
    parser.add_argument("--users", type=_count, default=2_000, metavar="N")
    parser.add_argument("--products", type=_count, default=1_000, metavar="N")
    parser.add_argument("--orders", type=_count, default=20_000, metavar="N")
    parser.add_argument(
        "--seed-value", type=int, default=1, metavar="N", help="seed of the random data"
    )
    parser.add_argument("--database-url", metavar="URL", help="instead of SERVICE_DATABASE_URL")
    parser.add_argument(
        "--reset", action="store_true", help="first DELETE every user, product and order"
    )
    parser.add_argument(
        "--if-empty", action="store_true", help="exit 0 without changes if the database has rows"
    )
    for who in ("admin", "demo"):
        parser.add_argument(
            f"--{who}-password-file",
            type=Path,
            default=SECRETS / f"{who}-password",
            metavar="FILE",
            help="created (0600) if missing; default %(default)s",
        )
    return parser.parse_args(argv)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


async def run(options: argparse.Namespace) -> str:
    """Seed the database; return a summary.

    Raises:
        NotEmptyError, UnavailableError, SecretError, ValidationError: Nothing was written.
    """
    settings = Settings(statement_timeout=3600)
    if options.database_url:
        settings = Settings(statement_timeout=3600, database_url=options.database_url)
    hashes = await _hashes(settings, options.admin_password_file, options.demo_password_file)
    sizes = {"users": options.users, "products": options.products, "orders": options.orders}
    shop = Shop(**sizes, seed=options.seed_value, until=datetime.now(UTC))
    database = connect(settings)
    started = time.monotonic()
    try:
        with progress(options.orders) as advance:
            await fill(database, shop, hashes, advance, reset=options.reset)
    finally:
        await database.close()
    amounts = ", ".join(f"{count:,} {what}" for what, count in sizes.items())
    return f"seeded {amounts} in {time.monotonic() - started:.1f} s"


async def _hashes(settings: Settings, admin: Path, demo: Path) -> tuple[str, str]:
    """Hash both passwords once: a hash for each customer would take minutes."""
    passwords = Passwords(settings)
    try:
        return (
            await passwords.hash(made_secret(admin, "the admin password", least=8)),
            await passwords.hash(made_secret(demo, "the demo password", least=8)),
        )
    finally:
        passwords.close()


def main() -> int:
    """Run the command: 0 when seeded, 1 with the reason when not."""
    options = arguments()
    try:
        print(asyncio.run(run(options)))
    except NotEmptyError as error:
        if options.if_empty:
            print(f"not seeded: {error}")
            return 0
        print(
            f"not seeded: {error}. Set an empty database with --database-url, "
            "or delete all rows with --reset.",
            file=sys.stderr,
        )
    except (UnavailableError, SecretError, ValidationError) as error:
        print(f"not seeded: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("not seeded: interrupted, nothing was written", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
