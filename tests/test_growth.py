"""No text makes our patterns and parsers slow (ReDoS): the time grows linearly with the length."""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import service
import vitals
from service.conditional_requests import parse_etags
from tests.growth import MAX_RATIO, SUFFIXES, attacks, growth
from vitals import Redaction
from vitals.asgi import route_template
from vitals.asgi.content_type import BodyKind
from vitals.db.indexes import sql_clauses
from vitals.db.statements import n_plus_one, plans, side_effect_check
from vitals.db.statements.fingerprint import normalise
from vitals.message_redaction import MessageRedactor
from vitals.validation import ijson

pytestmark = pytest.mark.slow
OURS = ("vitals", "service")
ANCHORED = {"match", "fullmatch"}
MAX_LENGTH = 8_192
_FUNCTION = re.compile(r"re\.(?:compile|search|match|fullmatch|split|findall|finditer|subn?)")
GENERATED: dict[tuple[str, str], list[str]] = {
    ("vitals.db.statements.fingerprint", "_tokens"): [],  # at import, for names that are found
    ("vitals.asgi.route_template", "_pattern"): [
        route_template._pattern("/api/{a}/b/{c}", "[^/]+").pattern,
        route_template._pattern("/api/{a}", ".*").pattern,
    ],
    ("vitals.db.indexes.sqlite_advisor", "_is_min_max"): [
        r"\b(?:min|max)\s*+\((?:\s*+[^\s.(]++\.)?\W*price[^\w)]*+\)"
    ],
}
"""Examples of patterns that functions generate from their arguments."""


class Used(NamedTuple):
    """A pattern, and whether it is anchored: only matched, not searched for."""

    pattern: str | bytes
    flags: int
    anchored: bool


def modules() -> list[ModuleType]:
    return [
        import_module(found.name)
        for package in (vitals, service)
        for found in walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith("__main__") and ".migrations" not in found.name
    ]


def held(value: Any, seen: set[int]) -> Iterator[re.Pattern[Any]]:
    """The patterns in a value of a module, at any depth."""
    if isinstance(value, re.Pattern):
        yield value
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    inside: Any = ()
    if isinstance(value, dict):
        inside = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        inside = value
    elif isinstance(value, type):
        inside = vars(value).values() if value.__module__.startswith(OURS) else ()
    elif type(value).__module__.startswith(OURS):
        slots = [each for kind in type(value).__mro__ for each in getattr(kind, "__slots__", ())]
        names = [*getattr(value, "__dict__", ()), *slots]
        inside = [getattr(value, name, None) for name in names]
    for each in list(inside):
        yield from held(each, seen)


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Calls of functions of `re`, with the enclosing function."""

    def walk(node: ast.AST, within: str) -> Iterator[tuple[str, ast.Call]]:
        for child in ast.iter_child_nodes(node):
            inner = child.name if isinstance(child, ast.FunctionDef) else within
            if isinstance(child, ast.Call) and _FUNCTION.fullmatch(ast.unparse(child.func)):
                yield within, child
            yield from walk(child, inner)

    return walk(tree, "")


def within(module: ModuleType, tree: ast.AST) -> Iterator[Used]:
    """The patterns that functions of a module pass to `re` at run time."""

    def value(expression: ast.expr) -> Any:
        return eval(compile(ast.Expression(expression), "", "eval"), vars(module))  # noqa: S307

    for function, call in calls(tree):
        method = ast.unparse(call.func).removeprefix("re.")
        if not function:  # patterns of the module itself are found by their value
            continue
        flags = [word.value for word in call.keywords if word.arg == "flags"]
        flags += [each for each in call.args[1:] if ast.unparse(each).startswith("re.")]
        try:
            pattern = value(call.args[0])
        except NameError:
            for made in GENERATED[module.__name__, function]:
                yield Used(made, 0, anchored=False)
        else:
            yield Used(pattern, int(value(flags[0])) if flags else 0, method in ANCHORED)


def patterns() -> set[Used]:
    """Every pattern of the kit and the service."""
    found: dict[re.Pattern[Any], set[str]] = defaultdict(set)
    inline: set[Used] = set()
    for module in modules():
        tree = ast.parse(Path(str(module.__file__)).read_text())
        uses = defaultdict(set)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                uses[node.value.id].add(node.attr)
        for name, value in list(vars(module).items()):
            for pattern in held(value, set()):
                # Nested patterns are used elsewhere, and may be searched for.
                found[pattern] |= uses[name] if value is pattern else {"search"}
        inline |= set(within(module, tree))
    return inline | {
        Used(pattern.pattern, pattern.flags, anchored=uses <= {*ANCHORED, "pattern"})
        for pattern, uses in found.items()
    }


def slow(used: Used) -> tuple[float, str, str, str] | None:
    """The growth and the text that makes a pattern slow; None if there is none."""
    pattern: re.Pattern[Any] = re.compile(used.pattern, used.flags)
    look: Callable[[Any], Any] = (
        pattern.match if used.anchored else lambda text: pattern.sub("", text)
    )
    coded = isinstance(used.pattern, bytes)
    if coded:
        look = pattern.match if used.anchored else lambda text: pattern.sub(b"", text)
    for begin, unit in attacks(used.pattern, used.flags):
        for end in SUFFIXES:
            times = growth(
                (lambda text: look(text.encode("latin-1", "replace"))) if coded else look,
                unit,
                begin,
                end,
                longest=MAX_LENGTH,
            )
            if times >= MAX_RATIO:
                return times, begin, unit, end
    return None


@pytest.mark.parametrize(
    "used", sorted(patterns(), key=str), ids=lambda used: str(used.pattern)[:60]
)
def test_no_text_makes_a_pattern_slow(used: Used) -> None:
    assert slow(used) is None


@pytest.mark.parametrize(
    "pattern",
    [
        r"a*b",
        r"\s+$",
        r"(?:password|pin)[^\W_]* +is +",
        r"<a>(.*?)</a>",
        r"(?P<name>\w+)=",
        r"x.*y.*z",
        rb"[^}]*}",
    ],
)
def test_a_quadratic_pattern_is_found(pattern: str | bytes) -> None:
    assert slow(Used(pattern, 0, anchored=False)) is not None


UNITS = (
    *(
        "a",
        "A",
        "0",
        "1 ",
        "1-",
        "1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1x",
        "1234567890123 ,",
        "'",
        "''",
        '"',
    ),
    *(
        "\\",
        "\\'",
        "E'\\",
        "$a$",
        "(",
        "()",
        "(?,",
        "? ,",
        "(?),",
        "/*",
        "*/",
        "/**/ ",
        "-- ",
        "--\n",
    ),
    *(
        " ",
        "\n",
        "a.",
        "a@",
        "@a",
        ":",
        "a:",
        "://",
        "://a",
        "://a@",
        "://a:b@c ",
        "=",
        "a=",
        "AB12",
    ),
    *(
        "password",
        "password=",
        "password is ",
        "password is not ",
        "pin x ",
        "too not ",
        "is ",
        " is ",
    ),
    *(
        "bearer ",
        "basic aaaa",
        "basic aaaa=",
        "eyJ",
        "eyJaaaa.b ",
        "-----BEGIN",
        "DE89 ",
        "_",
        "{",
        "[[",
    ),
    *('{"a":', "[{", '"a":', '"a" ', "[],", '"",', "\\u0070", "\u00e9", "\ud55c", "\ufdfa", "<a>"),
    *(
        "FROM a ",
        "FROM a,",
        "IN (1,",
        "VALUES (",
        "VALUES (1),",
        'LIKE "',
        '= "a" ',
        "LIMIT ",
        "0x",
    ),
    *(
        "1e",
        "1_",
        "::a[]",
        "%(a)s",
        "__[POSTCOMPILE_",
        "[POSTCOMPILE_a]",
        "N'",
        "a AND ",
        "BETWEEN a ",
    ),
    *(
        "ORDER BY a ",
        "2020-01-01T00:00:00",
        '"a", ',
        'W/"a",',
        ",",
        "; ",
        "a=b;",
        "&",
        "%41",
        "gzip;q=1,",
    ),
    *("<password>", "<a b='password'>", "passw:", "pasword:", "%25", "&#119;", "\uff10", "4111."),
    *("\n", '\n  File "a", line 1', "\n    a", "[SQL: ", "[parameters: ", "(a)=(", "\nDETAIL: "),
    *("invalid '", "input_value=", "'input': ", "a?b=c", "sk-", "AKIA", "aB1", "A1b2C3d4E5 "),
)
REDACTION = Redaction(patterns=[r"K-\d+|1-"])


def _clause(text: str) -> None:
    statement = f"SELECT * FROM t WHERE {text}"  # noqa: S608 - it is only parsed
    sql_clauses.as_plan(statement, sql_clauses.tables(statement, {"t": ["a", "b"]}))


MESSAGES = MessageRedactor(REDACTION)
READERS: dict[str, Callable[[str], Any]] = {
    "a text": REDACTION.text,
    "a string": lambda text: REDACTION.body(json.dumps({"x": text}).encode(), BodyKind.JSON),
    "a name": lambda text: REDACTION.body(json.dumps({text: 1}).encode(), BodyKind.JSON),
    "strings": lambda text: REDACTION.body(
        json.dumps([text[at : at + 40] for at in range(0, len(text), 40)]).encode(), BodyKind.JSON
    ),
    "a body": lambda text: REDACTION.body(text.encode(), BodyKind.JSON),
    "members": lambda text: REDACTION.body(
        json.dumps({f"{at}{text[at : at + 9]}": 7.5e300 for at in range(0, len(text), 9)}).encode(),
        BodyKind.JSON,
    ),
    "a form": lambda text: REDACTION.body(text.encode(), BodyKind.FORM),
    "a guarded body": lambda text: ijson.fault(text.encode(), 32),
    "a guarded string": lambda text: ijson.fault(json.dumps([text, float("nan")]).encode(), 32),
    "a statement": lambda text: normalise(f"SELECT {text}"),
    "a statement of MySQL": lambda text: normalise(f"SELECT {text}", "mysql"),
    "a repeated statement": lambda text: n_plus_one._parse.__wrapped__(f"SELECT {text}"),
    "a statement to execute": lambda text: side_effect_check.parse_words(f"SELECT {text}", ()),
    "clauses": _clause,
    "conditions": plans.mask_literals,
    "a log message": MESSAGES.log_message,
    "an error": MESSAGES.error,
    "a traceback": MESSAGES.traceback,
    "a statement that is logged": MESSAGES.statement,
    "If-None-Match": lambda text: list(parse_etags(text)),
}


@pytest.mark.parametrize("reader", READERS)
def test_no_text_makes_a_parser_slow(reader: str) -> None:
    for unit in UNITS:
        for end in ("", "!", ": x"):
            times = growth(READERS[reader], unit, end=end, longest=MAX_LENGTH // 2)
            assert times < MAX_RATIO, (unit, end)
