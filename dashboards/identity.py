"""Boards for several identity labels: a selector for each, and queries and links of all."""

from typing import Any

from dashboards.grafana import Json
from dashboards.variables import JOB, Variable
from rules.identity import Identity

_KEPT, _CLICKED = "${job:queryparam}", "var-job=${__value.raw:percentencode}"
_SERIES = "var-job=${__field.labels.job:percentencode}"


def identify(board: Json, identity: Identity) -> Json:
    """Render a board, as `Board.draw` writes it, for the identity labels."""
    if not identity.further:
        return board
    rendered: Json = _rendered(board, identity)
    rendered["templating"]["list"] = [
        each
        for variable in rendered["templating"]["list"]
        for each in (_selectors(identity) if variable["name"] == JOB.name else [variable])
    ]
    return rendered


def _selectors(identity: Identity) -> list[Json]:
    """The selectors of the identity labels: each offers what the ones before it leave."""
    drawn, chosen = [], ""
    metric = JOB.selector.partition("{")[0]
    for label in identity.labels:
        title = JOB.label if label == JOB.name else label.replace("_", " ").capitalize()
        drawn.append(
            Variable(label, title, f"{metric}{{{chosen}}}" if chosen else metric, label).draw()
        )
        chosen += f'{"," if chosen else ""}{label}="${label}"'
    return drawn


def _rendered(value: Any, identity: Identity) -> Any:
    match value:
        case str():
            return _links(identity.query(value), identity)
        case list():
            return [_rendered(each, identity) for each in value]
        case {"renameByName": {"job": _}}:
            return _with_columns(value, identity)
        case dict():
            return {name: _rendered(each, identity) for name, each in value.items()}
        case _:
            return value


def _links(text: str, identity: Identity) -> str:
    kept = "&".join(f"${{{label}:queryparam}}" for label in identity.labels)
    of_row = "".join(
        f"var-{label}=${{__data.fields.{label}:percentencode}}&" for label in identity.further
    )
    of_series = of_row.replace("__data.fields", "__field.labels")
    return (
        text.replace(_KEPT, kept)
        .replace(_CLICKED, of_row + _CLICKED)
        .replace(_SERIES, of_series + _SERIES)
        .replace("{{job}}", " ".join(f"{{{{{label}}}}}" for label in identity.labels))
    )


def _with_columns(options: Json, identity: Identity) -> Json:
    """A column for each further label, after that of the job, with the label's name as title."""
    titles = {"job": options["renameByName"]["job"], **dict.fromkeys(identity.further, "")}
    columns = {
        **{label: title or label for label, title in titles.items()},
        **options["renameByName"],
    }
    places = {name: place for place, name in enumerate(columns)}
    return {**options, "renameByName": columns, "indexByName": places}
