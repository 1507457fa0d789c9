"""Redacts XML and HTML in strings: elements with a sensitive name lose their content.

Nothing is parsed: a string may hold a fragment of a document, or a malformed one.
"""

import re

from vitals.redaction.sensitive_fields import MASK, SensitiveFields

_OPENING = re.compile(r"<([\w:.-]{1,64})(?=[\s/>])([^<>]{0,1000})>")
_VALUE = re.compile(r"\s[\w:.-]{1,64}\s?=\s?(?:\"([^\"<>]*)\"|'([^'<>]*)')")


def redact_elements(text: str, names: SensitiveFields) -> str:
    """Redact the content of elements with a sensitive name or attribute value."""
    parts: list[str] = []
    end = 0
    for tag in _OPENING.finditer(text):
        if tag.start() < end or tag[2].endswith("/"):
            continue
        name = tag[1].rpartition(":")[2]
        if not (names.secret(name) or any(map(names.secret, _values(tag[2])))):
            continue
        parts.append(text[end : tag.end()] + MASK)
        end = text.find(f"</{tag[1]}", tag.end())
        if end < 0:
            return "".join(parts)
    return "".join(parts) + text[end:] if parts else text


def _values(attributes: str) -> list[str]:
    return [value[1] or value[2] for value in _VALUE.finditer(attributes)]
