"""Renders the text of a message as HTML: links can be clicked, everything else is escaped."""

import re
from collections.abc import Callable
from html import escape

_ADDRESS = r"https?://[^\s<>\"]*[^\s<>\".,;:!?)\]]"
_PLAIN = re.compile(_ADDRESS)
_SLACK = re.compile(
    rf"<(?P<address>https?://[^|>\s]+)(?:\|(?P<label>[^>\n]*))?>"
    rf"|(?P<plain>{_ADDRESS})"
    r"|(?<!\w)\*(?P<bold>[^\s*](?:[^*\n]*[^\s*])?)\*(?!\w)"
    r"|`(?P<code>[^`\n]+)`"
)


def without_markup(text: str) -> str:
    """Slack's text for those who know no markup of its own: each link is a line."""
    lines = re.sub(r" *<(https?://[^|>\s]+)\|([^>\n]*)>", r"\n  \2: \1", text)
    return unescaped(re.sub(r"\n\s*\n(?=  \w+: http)", "\n", lines))


def unescaped(text: str) -> str:
    """Text of Slack's without its three escaped characters; no more, as addresses have ``&``."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def link(address: str, label: str = "") -> str:
    """A link; an address that is not of the web stays text."""
    text = escape(label or address)
    if not address.startswith(("http://", "https://")):
        return text
    return f'<a href="{escape(address)}" rel="noreferrer">{text}</a>'


def plain_text(text: str) -> str:
    """Text as a mail program shows it."""
    return _replaced(_PLAIN, text, lambda found: link(found[0]))


def slack_text(text: str) -> str:
    """Text as Slack shows it: its links, bold and code, and its three escaped characters."""

    def shown(found: re.Match[str]) -> str:
        if found["bold"]:
            return f"<b>{escape(unescaped(found['bold']))}</b>"
        if found["code"]:
            return f"<code>{escape(unescaped(found['code']))}</code>"
        return link(unescaped(found["address"] or found["plain"]), unescaped(found["label"] or ""))

    return _replaced(_SLACK, text, shown, unescaped)


def _replaced(
    pattern: re.Pattern[str],
    text: str,
    shown: Callable[[re.Match[str]], str],
    before: Callable[[str], str] = str,
) -> str:
    parts, at = [], 0
    for found in pattern.finditer(text):
        parts += [escape(before(text[at : found.start()])), shown(found)]
        at = found.end()
    return "".join([*parts, escape(before(text[at:]))])
