"""Table of the invalidations that the cache could not be given."""

from service.db.database import Base
from vitals.cache import outbox_table

OUTBOX = outbox_table(Base.metadata)
