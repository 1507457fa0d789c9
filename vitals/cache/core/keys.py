"""Cache keys: templates, and digests of long or unprintable keys."""

import hashlib
from collections.abc import Mapping
from string import Formatter

MAX_KEY_LENGTH = 100
NONE = "%N"
"""Text of None, which no other value has: a percent sign is escaped."""


class KeyTemplate:
    """Format of a namespace's keys, such as ``{limit}:{cursor}``.

    Args:
        text: Fields in braces, with literal text between them.

    Attributes:
        fields: Their names, in order.

    Raises:
        ValueError: A field has no name.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        fields = [field for _, field, _, _ in Formatter().parse(text) if field is not None]
        if not all(field.isidentifier() for field in fields):
            raise ValueError(f"cache key {text!r}: name each field, such as {{id}}")
        self.fields = tuple(dict.fromkeys(fields))

    def format(self, fields: Mapping[str, object]) -> str:
        """Format a key.

        Raises:
            ValueError: A field is missing, or there is one too many.
            TypeError: A value has no text of its own.
        """
        if len(fields) != len(self.fields) or not all(name in fields for name in self.fields):
            raise ValueError(
                f"cache key {self._text!r}: give exactly {', '.join(sorted(self.fields))}"
            )
        return self.fill(fields)

    def fill(self, fields: Mapping[str, object]) -> str:
        """Format a key with some of the fields that are given.

        Raises:
            KeyError: A field is missing.
            TypeError: A value has no text of its own.
        """
        if len(self.fields) == 1:
            [name] = self.fields
            text = _text_of(fields[name])
            # What is written by hand, such as `entry("42")`, is the same key.
            if fields[name] is not None and text.startswith("%"):
                text = "%25" + text[1:]
            return self._text.format(**{name: text})
        # A colon inside a value must not shift the fields.
        return self._text.format(
            **{
                name: NONE
                if fields[name] is None
                else _text_of(fields[name]).replace("%", "%25").replace(":", "%3A")
                for name in self.fields
            }
        )


def shorten(key: str) -> str:
    """Return the key itself, or a digest of one that is long or could be taken for a digest."""
    if len(key) <= MAX_KEY_LENGTH and key.isprintable() and not key.startswith("#"):
        return key
    return "#" + hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _text_of(value: object) -> str:
    kind = type(value)
    if kind is str or kind is int:
        return str(value)
    if value is None:
        return NONE
    if isinstance(value, set | frozenset):  # whose order differs between processes
        return str(sorted(map(_text_of, value)))
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        raise TypeError(f"cache key: a {kind.__name__} has no text of its own; leave it out")
    return str(value)
