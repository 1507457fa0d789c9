import pytest

from vitals.catalogue import OTHER
from vitals.queries.fingerprint import LONGEST, Fingerprints, normalise

SAME = [
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
    prints = Fingerprints()
    assert prints.of(one).fingerprint == prints.of(other).fingerprint


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_queries_have_different_fingerprints(one: str, other: str) -> None:
    prints = Fingerprints()
    assert prints.of(one).fingerprint != prints.of(other).fingerprint


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM u WHERE password = 'hunter2'",
        "SELECT * FROM u WHERE password = 'hunter2",
        "SELECT * FROM u WHERE password = E'\\'hunter2'",
        "SELECT * FROM u WHERE password = $tag$hunter2$tag$",
        r"SELECT * FROM u WHERE path = 'C:\' AND token = 'hunter2'",
        r"SELECT * FROM u WHERE path = E'C:\'\\' AND token = 'hunter2'",
        "SELECT * FROM u -- hunter2",
        "SELECT * FROM u /* hunter2 */",
        "SELECT '" + "x" * (2 * LONGEST) + "hunter2'",
    ],
)
def test_no_literal_is_kept(sql: str) -> None:
    assert "hunter2" not in Fingerprints().of(sql).text


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
def test_operation_and_summary_name_what_was_done_to_which_tables(
    sql: str, operation: str, summary: str
) -> None:
    assert Fingerprints().of(sql)[:2] == (operation, summary)


def test_slots_stay_with_the_first_comers() -> None:
    prints = Fingerprints(slots=2)
    first = prints.of("SELECT a FROM t").fingerprint
    prints.of("SELECT b FROM t")
    late = prints.of("SELECT c FROM t")
    assert (late.fingerprint, late.summary) == (OTHER, OTHER)
    assert prints.of("SELECT a  FROM t").fingerprint == first


def test_memory_is_bounded() -> None:
    prints = Fingerprints(kept=10)
    for number in range(1_000):
        prints.of(f"SELECT {'x' * LONGEST}{number}")
    assert len(prints._statements) <= 10
    assert all(len(sql) <= LONGEST for sql in prints._statements)


def test_normalised_text_is_stable() -> None:
    once = normalise("SELECT a FROM t WHERE x IN (1,2) AND y = 'z'")
    assert normalise(once) == once
