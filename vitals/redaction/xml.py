"""XML and HTML inside of strings: an element that is named as a secret loses its content.

It is not parsed: what a string holds may be a piece of a document, and any of it may be wrong.
"""

import re

from vitals.redaction.sensitive_fields import MASK, Names

_OPENING = re.compile(r"<([\w:.-]{1,64})(?=[\s/>])([^<>]{0,1000})>")
_VALUE = re.compile(r"\s[\w:.-]{1,64}\s?=\s?(?:\"([^\"<>]*)\"|'([^'<>]*)')")


def without_elements(text: str, names: Names) -> str:
    """A text without the content of elements whose name, or an attribute's value, is a secret's."""
    told: list[str] = []
    end = 0
    for tag in _OPENING.finditer(text):
        if tag.start() < end or tag[2].endswith("/"):
            continue
        name = tag[1].rpartition(":")[2]
        if not (names.secret(name) or any(map(names.secret, _values(tag[2])))):
            continue
        told.append(text[end : tag.end()] + MASK)
        end = text.find(f"</{tag[1]}", tag.end())
        if end < 0:
            return "".join(told)
    return "".join(told) + text[end:] if told else text


def _values(attributes: str) -> list[str]:
    return [value[1] or value[2] for value in _VALUE.finditer(attributes)]
