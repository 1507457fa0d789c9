"""The literal of a pattern is in whatever the pattern matches."""

import re2
from hypothesis import given
from hypothesis import strategies as st

from stack.store.partitions.terms import grams
from stack.store.query.literals import literal_of

PARTS = st.sampled_from(
    ["a", "B", "ab c", ".*", "(?i)", r"\.", r"\\", r"\d", "[a-c]", "é", "|", "."]
)


@given(st.lists(PARTS, max_size=5), st.text(alphabet="aAbBc .é\\7", max_size=12))
def test_what_a_pattern_matches_has_its_literal(parts: list[str], text: str) -> None:
    pattern = "".join(parts)
    try:
        compiled = re2.compile(f"(?s:{pattern})")
    except re2.error:
        return
    if compiled.search(text):
        assert literal_of(pattern).casefold() in text.casefold()
        assert grams(literal_of(pattern)) <= grams(text)


def test_searches_have_a_literal() -> None:
    for pattern in ("(?i)time out", ".*time out.*", "(?i).*time out.*", "time out.*", "time out"):
        assert literal_of(pattern) == "time out"
    assert literal_of(r"/a\.b\(c\).*") == "/a.b(c)"
    for pattern in ("time.?out", "a|b", r"\d+", "[ab]", r"a\\.*"):
        assert literal_of(pattern) in {"", "a\\"}
