"""Checks of the project itself: ``python -m checks`` lists everything that is missing at once."""

import sys

from checks import completeness, expectations, links, named_paths, queries, words


def main() -> int:
    """Run every check and print what each finds; 1 if there is anything."""
    found = [
        *words.check(),
        *links.check(),
        *named_paths.check(),
        *queries.check(),
        *expectations.check(),
        *completeness.check(),
    ]
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
