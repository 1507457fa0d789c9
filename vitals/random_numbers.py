"""Random numbers of the kit's own, for ids, shares and jitter; none of them is a secret.

The generator of the module ``random`` is the host's: it may seed that, so that each of its workers
would make the same trace ids, and code that seeds it expects its numbers in their order.
"""

import os
from random import Random

RANDOM = Random()  # noqa: S311  # see above

if hasattr(os, "register_at_fork"):  # else workers that were forked would make the same ids
    os.register_at_fork(after_in_child=RANDOM.seed)
