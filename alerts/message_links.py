"""Message links: the templates of messages that depend on the addresses of pages.

A link to a runbook has the alert's labels and time as a board's link has them: the viewer fills
them into the runbook's queries. Those to a trace, an issue and logs are annotations of the alert.

Slack gets the same text with its three characters escaped, and links with their titles on one line,
which a phone shows without the address.
"""

import re

from alerts.receivers import ReceiverSettings
from rules.identity import BY_JOB, Identity

_ESCAPED = "".join(
    f' | reReplaceAll "{character}" "{code}"'
    for character, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))
)
"""Escapes a value for Slack."""
_SHARED = ("text", "title", "further", "proofs", "logs", "board", "runbook")
"""Templates that Slack has versions of."""
_SILENCE = re.compile(r"\n  Silence: (\{\{.*\}\})")


def plain(settings: ReceiverSettings, identity: Identity = BY_JOB) -> str:
    """Write the templates for all receivers but Slack: one link a line, an address each."""
    labels = ("alertname", *identity.labels)
    places = ",".join(f"{each}=%q" for each in labels)
    matchers = f'(printf "{{{places}}}" {" ".join(f".Labels.{each}" for each in labels)})'
    chosen = "&".join(f"var-{each}={_in_url(f'.Labels.{each}')}" for each in identity.labels)
    return (
        _links(settings, "", "\n  {title}: {address}")
        + _define("further", _further(identity))
        + _define("chosen", chosen)
        + _define("matchers", _in_url(matchers))
        + _define("silences", settings.silences or "{{ .ExternalURL }}/#/silences/new")
    )


def slack(settings: ReceiverSettings, identity: Identity = BY_JOB) -> str:
    """Write those for Slack."""
    return _links(settings, "slack_", " <{address}|{title}>", begin="\n ") + _define(
        "slack_further", _further(identity, _ESCAPED)
    )


def slack_text(text: str) -> str:
    """Turn the templates of title and text into those for Slack."""
    wanted = "".join(
        each
        for each in re.split(r"(?=\{\{ define )", text)
        if each.startswith(('{{ define "vitals.title"', '{{ define "vitals.text"'))
    )
    named = re.sub(rf'"vitals\.({"|".join(_SHARED)})"', r'"vitals.slack_\1"', wanted)
    escaped = re.sub(
        r"\{\{ (\.(?:Annotations|CommonLabels)\.\w+) \}\}", rf"{{{{ \1{_ESCAPED} }}}}", named
    )
    return _SILENCE.sub(r" <\1|Silence>", escaped)


def _links(settings: ReceiverSettings, kind: str, link: str, begin: str = "") -> str:
    """Write the templates of links.

    Args:
        settings: The addresses.
        kind: Prefix of the templates' names.
        link: A link, with its ``title`` and ``address``.
        begin: What comes before the links of a line.
    """

    def of_viewer(name: str, title: str) -> str:
        if not settings.viewer:
            return ""
        shown = link.format(title=title, address=f"{settings.viewer}/{{{{ . }}}}")
        return f"{{{{ with .Annotations.{name} }}}}{shown}{{{{ end }}}}"

    board, runbook = "", "\n  Runbook: alerts/runbooks/{{ .Annotations.runbook }}"
    if settings.boards:
        address = f'{settings.boards}/{{{{ template "vitals.board_path" . }}}}'
        board = link.format(title="Board", address=address)
    if settings.runbooks:
        path = '{{ .Annotations.runbook }}?{{ template "vitals.variables" . }}'
        runbook = link.format(title="Runbook", address=f"{settings.runbooks}/{path}")
    proofs = of_viewer("trace", "Trace") + of_viewer("issue", "Issue")
    if begin and proofs:
        either = "{{ if or .Annotations.trace .Annotations.issue }}"
        proofs = f"{either}{begin}{{{{ end }}}}{proofs}"
    return (
        _define(f"{kind}proofs", proofs)
        + _define(f"{kind}logs", begin + of_viewer("logs", "Logs"))
        + _define(f"{kind}board", board)
        + _define(f"{kind}runbook", runbook)
    )


def _further(identity: Identity, escape: str = "") -> str:
    """The labels of a service besides its job, as far as it has them."""
    return "".join(
        f"{{{{ with .{each} }}}} {{{{ .{escape} }}}}{{{{ end }}}}" for each in identity.further
    )


def _in_url(value: str) -> str:
    return f'{{{{ reReplaceAll "\\\\+" "%20" ({value} | urlquery) }}}}'


def _define(name: str, text: str) -> str:
    return f'{{{{ define "vitals.{name}" }}}}{text}{{{{ end }}}}\n'
