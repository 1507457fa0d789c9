"""Cache keys: templates, and digests of long or unprintable keys."""

import hashlib
from string import Formatter

MAX_KEY_LENGTH = 100


class KeyTemplate:
    """Format of a namespace's keys, such as ``{limit}:{cursor}``.

    Args:
        text: Fields in braces, with literal text between them.

    Raises:
        ValueError: A field has no name.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        fields = [field for _, field, _, _ in Formatter().parse(text) if field is not None]
        if not all(field.isidentifier() for field in fields):
            raise ValueError(f"cache key {text!r}: name each field, such as {{id}}")
        self._fields = frozenset(fields)

    def format(self, fields: dict[str, object]) -> str:
        """Format a key.

        Raises:
            ValueError: A field is missing, or there is one too many.
        """
        if fields.keys() != self._fields:
            raise ValueError(
                f"cache key {self._text!r}: give exactly {', '.join(sorted(self._fields))}"
            )
        if len(fields) == 1:
            return self._text.format(**fields)
        # A colon inside a value must not shift the fields.
        safe = {n: str(v).replace("%", "%25").replace(":", "%3A") for n, v in fields.items()}
        return self._text.format(**safe)


def shorten(key: str) -> str:
    """Return the key itself, or a digest of one that is long or could be taken for a digest."""
    if len(key) <= MAX_KEY_LENGTH and key.isprintable() and not key.startswith("#"):
        return key
    return "#" + hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=16).hexdigest()
