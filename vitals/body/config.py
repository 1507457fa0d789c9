"""Options of the body log."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vitals.body.capture import MAX_HELD_BYTES
from vitals.redaction.bodies import Redaction


@dataclass(frozen=True)
class BodyLogging:
    """Options of the body log.

    Requests that failed, were refused or missed their latency objective are always logged, if they
    matched a route.

    Attributes:
        share: The share of all other requests that is logged too (0 to 1).
        routes: By route template: a share of its own, or None to never log its bodies.
        limit: Bytes up to which a body is logged; of a longer one, its size and a hash.
        text: Whether plain text is logged too. It has no field names: only secret patterns are
            redacted.
        lines_per_second: Rate limit of log lines; lines beyond it are counted and dropped.
        redaction: What is redacted.
    """

    share: float = 0.0
    routes: Mapping[str, float | None] = field(default_factory=dict)
    limit: int = 8_192
    text: bool = False
    lines_per_second: int = 100
    redaction: Redaction = field(default_factory=Redaction)

    def __post_init__(self) -> None:
        for share in (self.share, *self.routes.values()):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"the share {share} of requests must lie between 0 and 1")
        if not 0 < self.limit <= MAX_HELD_BYTES:
            raise ValueError(f"limit {self.limit} must lie between 1 and {MAX_HELD_BYTES} bytes")
