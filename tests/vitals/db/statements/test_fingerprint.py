import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitals.db.statements.fingerprint import MAX_LENGTH, Fingerprints, normalise
from vitals.metrics.catalogue import OTHER

SAME = [
    ("SELECT __[SCHEMA__none].t.a FROM __[SCHEMA__none].t", "SELECT t.a FROM t"),
    ("SELECT __[SCHEMA_shop].t.a FROM __[SCHEMA_shop].t", "SELECT shop.t.a FROM shop.t"),
    ("SELECT a FROM t WHERE id = 1", "SELECT a FROM t WHERE id = -27"),
    ("SELECT a FROM t WHERE id = $1", "SELECT a FROM t WHERE id = 5"),
    ("SELECT a FROM t WHERE id IN ($1::INTEGER)", "SELECT a FROM t WHERE id IN (1, 2,3 , 4)"),
    ("SELECT a FROM t WHERE id IN (__[POSTCOMPILE_id_1])", "SELECT a FROM t WHERE id IN (1, 2)"),
    ("SELECT a FROM t WHERE n = 'it''s'", 'SELECT a FROM t WHERE n = $$it"s$$'),
    ("SELECT a FROM t WHERE n = E'a\\'b'", "SELECT a FROM t WHERE n = %(name)s"),
    ("SELECT  a\n\tFROM t -- why\n", "SELECT /* which */ a FROM t"),
    ("INSERT INTO t (a, b) VALUES ($1, $2)", "INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')"),
    ("SELECT a FROM t WHERE x = 1.5e-3", "SELECT a FROM t WHERE x = 0xFF"),
    ("SELECT a FROM t WHERE x = ?", "SELECT a FROM t WHERE x = :name"),
]
DIFFERENT = [
    ("SELECT a FROM t1", "SELECT a FROM t2"),
    ("SELECT c1 FROM t", "SELECT c2 FROM t"),
    ('SELECT "A 1" FROM t', 'SELECT "A 2" FROM t'),
    ("SELECT a FROM t WHERE x = 1", "SELECT a FROM t WHERE x > 1"),
    ("SELECT a::text FROM t", "SELECT a::int FROM t"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_calls_of_one_query_have_one_fingerprint(one: str, other: str) -> None:
    fingerprints = Fingerprints()
    assert fingerprints.of(one).fingerprint == fingerprints.of(other).fingerprint


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_queries_have_different_fingerprints(one: str, other: str) -> None:
    fingerprints = Fingerprints()
    assert fingerprints.of(one).fingerprint != fingerprints.of(other).fingerprint


def quoted(secret: str) -> str:
    return "'" + secret.replace("'", "''") + "'"


def escaped(secret: str, quote: str = "'") -> str:
    return quote + secret.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote


LITERALS: dict[str, Callable[[str], str]] = {
    "quoted": quoted,
    "national": lambda secret: "N" + quoted(secret),
    "escaped": lambda secret: "E" + escaped(secret),
    "in dollars": lambda secret: f"$a${secret}$a$",
    "in bare dollars": lambda secret: "$$" + secret.replace("$", "") + "$$",
    "after a keyword": lambda secret: "LIKE" + quoted(secret),
    "in a comment": lambda secret: "/* " + secret.replace("*", "").replace("/", "") + " */ 1",
    "in a nested comment": lambda secret: (
        "/* /* */ " + secret.replace("*", "").replace("/", "") + " */ 1"
    ),
    "in a line's comment": lambda secret: "1 -- " + secret.replace("\n", "") + "\n",
    "taken for a string by SQLite": lambda secret: '= "' + secret.replace('"', '""') + '"',
    "in a list of SQLite's": lambda secret: (
        'IN ("' + re.sub(r"""["'()]""", "", secret) + '", "other")'
    ),
}
LITERALS_OF_MYSQL: dict[str, Callable[[str], str]] = {
    "quoted": lambda secret: quoted(secret.replace("\\", "\\\\")),
    "escaped": escaped,
    "in double quotes": lambda secret: escaped(secret, '"'),
    "after a hash": lambda secret: "1 # " + secret.replace("\n", "") + "\n",
}
HOSTILE = st.text(alphabet="'\"\\$/*-#;,()\n eExX%?:1_", max_size=12)
SECRETS = st.builds("{}hunter2{}".format, HOSTILE, HOSTILE)
AROUND = st.sampled_from(
    ["{}", "SELECT a FROM t WHERE x {} AND y = 1", "f({}, 'it''s', {})", "a={}", "VALUES ({})"]
)


@pytest.mark.parametrize(
    ("system", "form"),
    [("postgresql", form) for form in LITERALS] + [("mysql", form) for form in LITERALS_OF_MYSQL],
)
@settings(max_examples=60, deadline=None)
@given(secret=SECRETS, around=AROUND, cut=st.integers(0, 400))
def test_normalise_removes_literals(
    system: str, form: str, secret: str, around: str, cut: int
) -> None:
    literal = (LITERALS if system == "postgresql" else LITERALS_OF_MYSQL)[form](secret)
    sql = around.format(literal, literal)
    # Truncate within a literal, as happens with long statements.
    for text in (sql, sql[: max(1, len(sql) - cut % len(sql))]):
        assert "hunter2" not in normalise(text, system)


@pytest.mark.parametrize(
    "number", ["424242", "-424242", "4242.42", ".4242", "4242e4", "0x4242", "0b1010", "4_242"]
)
@pytest.mark.parametrize("around", ["x={}", "f({},{})", "LIMIT {}", "x-{}", "x>{};", "[{}]"])
def test_normalise_removes_numbers(number: str, around: str) -> None:
    assert not re.search(r"[0-9]", normalise(around.format(number, number)))


def test_long_statement_is_truncated() -> None:
    text = Fingerprints().of("SELECT '" + "x" * (2 * MAX_LENGTH) + "hunter2'").text
    assert text == "SELECT ?"


@pytest.mark.parametrize(
    ("sql", "operation", "summary"),
    [
        ("SELECT a FROM shop.items", "SELECT", "SELECT shop.items"),
        ("select 1", "SELECT", "SELECT"),
        ("SELECT a FROM t JOIN u ON 1=1 JOIN t ON 2=2", "SELECT", "SELECT t u"),
        ('UPDATE "odd" SET x=1', "UPDATE", "UPDATE odd"),
        ("DELETE FROM ONLY t", "DELETE", "DELETE t"),
        ("(SELECT a FROM t) UNION SELECT b FROM u", "SELECT", "SELECT t u"),
        ("SELECT a FROM a JOIN b JOIN c JOIN d", "SELECT", "SELECT a b c"),
        ("hunter2 FROM t", OTHER, f"{OTHER} t"),
        ("", OTHER, OTHER),
    ],
)
def test_operation_and_summary(sql: str, operation: str, summary: str) -> None:
    assert Fingerprints().of(sql)[:2] == (operation, summary)


def test_fingerprints_beyond_the_limit_are_other() -> None:
    fingerprints = Fingerprints(max_fingerprints=2)
    first = fingerprints.of("SELECT a FROM t").fingerprint
    fingerprints.of("SELECT b FROM t")
    late = fingerprints.of("SELECT c FROM t")
    assert (late.fingerprint, late.summary) == (OTHER, OTHER)
    assert fingerprints.of("SELECT a  FROM t").fingerprint == first


def test_memory_is_bounded() -> None:
    fingerprints = Fingerprints(cache_size=10)
    for number in range(1_000):
        fingerprints.of(f"SELECT {'x' * MAX_LENGTH}{number}")
    assert len(fingerprints._statements) <= 10
    assert all(len(sql) <= MAX_LENGTH for sql, _ in fingerprints._statements)


def test_normalised_text_is_stable() -> None:
    once = normalise("SELECT a FROM t WHERE x IN (1,2) AND y = 'z'")
    assert normalise(once) == once
