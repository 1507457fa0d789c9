"""``python -m vitals``: the same as the command ``vitals``."""

import sys

from vitals.cli import main

if __name__ == "__main__":
    sys.exit(main())
