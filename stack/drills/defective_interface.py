"""The interface of the defective service that its defects use."""

from pathlib import Path
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from vitals import Vitals


class DefectiveService(Protocol):
    """The interface of a service that defects use.

    Attributes:
        engine: Its database.
        pool: Size of its connection pool.
        vitals: Its instrumentation.
        metrics_empty: Whether its metrics page is empty.
        folder: A folder whose file system it measures.
    """

    engine: AsyncEngine
    pool: int
    vitals: Vitals
    metrics_empty: bool
    folder: Path
