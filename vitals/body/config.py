"""What is logged of bodies."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vitals.body.capture import HELD
from vitals.redaction.bodies import Redaction


@dataclass(frozen=True)
class Bodies:
    """What is logged of bodies.

    Requests that failed, were refused or broke their latency objective are always told, as far
    as a route answered them.

    Attributes:
        share: Of all other requests, the share that is told as well (0 to 1).
        routes: By route template: a share of its own, or None to tell nothing of it at all.
        limit: Bytes up to which a body is told; of a longer one its size and a hash.
        text: Whether plain text is told too. It has no names to go by: only what looks like a
            secret is taken out.
        lines_per_second: Lines written at most; what is beyond is counted, not written.
        redaction: What is taken out.
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
        if not 0 < self.limit <= HELD:
            raise ValueError(f"limit {self.limit} must lie between 1 and {HELD} bytes")
