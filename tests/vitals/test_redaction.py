"""No planted secret survives redaction, wherever it stands."""

import json
import re
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitals import Redaction
from vitals.bodies.looks import are_plain
from vitals.bodies.names import ANYWHERE, MASK, WHOLE
from vitals.media import Kind

REDACTION = Redaction()
SECRET = "hunter-two-7"

plain = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | plain
names = st.sampled_from((*ANYWHERE, *WHOLE))
separators = st.sampled_from(["", "_", "-", ".", " "])


@st.composite
def secret_names(draw: st.DrawFn) -> str:
    """A secret's name as people write it: any case, prefixed, suffixed, with separators."""
    name = draw(names)
    written = "".join(draw(st.sampled_from([letter, letter.upper()])) for letter in name)
    if name in WHOLE:
        written = draw(st.sampled_from([name, name.upper(), name.title()]))
        prefix = draw(st.sampled_from(["", "my_", "user-", "x."]))
        return prefix + written
    before = draw(st.sampled_from(["", "user", "X-", "old ", "user["]))
    at = draw(st.integers(0, len(written)))
    written = written[:at] + draw(separators) + written[at:]
    return before + written + draw(st.sampled_from(["", "_2", "Hash", "]", "\u200b"]))


def nested(leaf: Any) -> Any:
    return st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3)
            | st.dictionaries(plain, inner, min_size=1, max_size=3)
        ),
        max_leaves=6,
    )


@st.composite
def planted(draw: st.DrawFn) -> Any:
    """A document that holds the secret under a secret's name, somewhere."""
    hidden = draw(nested(st.just(SECRET)))
    value: Any = {**draw(st.dictionaries(plain, scalars, max_size=3)), draw(secret_names()): hidden}
    for way in draw(st.lists(st.sampled_from("lds"), max_size=4)):
        if way == "l":
            value = [draw(scalars), value]
        elif way == "d":
            value = {draw(plain): value}
        else:
            value = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return value


@settings(max_examples=500, deadline=None)
@given(planted(), st.booleans())
def test_no_secret_survives_in_json(value: Any, escaped: bool) -> None:  # noqa: FBT001
    body = json.dumps(value, ensure_ascii=escaped)
    if escaped:  # every letter may be written as an escape
        body = body.replace("a", "\\u0061").replace("\\\\u0061", "a")
    told = REDACTION.body(body.encode(), Kind.JSON)
    assert told is None or SECRET not in told


@settings(max_examples=300, deadline=None)
@given(secret_names(), st.dictionaries(plain, plain, max_size=3), st.sampled_from("&;"))
def test_no_secret_survives_in_a_form(name: str, others: dict[str, str], joint: str) -> None:
    # Run together with its value a short word such as "pin" is no word any more.
    fused = "" if name.lower().endswith(tuple(WHOLE)) else f"{quote_plus(name)}{SECRET}&b=2"
    for body in (
        fused,
        urlencode([*others.items(), (name, SECRET), ("z", "1")]),
        f"a=1{joint}{quote_plus(name)}={SECRET}{joint}b=2",
        f"{quote_plus(name + '=' + SECRET)}&b=2",
    ):
        told = REDACTION.body(body.encode(), Kind.FORM)
        assert told is None or SECRET not in told, body


LOOKS = [
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.dBjftJeZ4CVPmB92K27uhbUJU1p1r",
    "Bearer abc.def~7",
    "BeaRER abcdefgh",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "378282246310005",
    "7 4111 1111 1111 1111 123",
    "DE89370400440532013000",
    "GB82 WEST 1234 5698 7654 32",
    "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
    "anna.smith+shop@example.co.uk",
    "anna@localhost",
    "0123456789abcdef0123456789abcdef01234567",
    "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
    "postgresql://bob:hunter2@db:5432/shop",
    "https://example.com/reset?reset_token=abcdef",
    "postgresql://bob:hun/ter2?x@db:5432/shop",
    "Authorization: Basic aHVudGVy",
    "Basic Ym9iOmh1bnRlcjI=",
    "basic Ym9iOmh1bnRlci0_",
    "the password is hunter2",
    "My PIN is hunter",
    'she wrote {"password": "hunter2"} to me',
]


@pytest.mark.parametrize("value", LOOKS)
def test_what_looks_like_a_secret_goes_wherever_it_stands(value: str) -> None:
    core = max(re.findall(r"[\w.+-]+", value.replace("WEST", "")), key=len)
    for body in ({"note": f"see {value} now"}, [value], value, {value: 1}, {"n": {"m": [value]}}):
        told = REDACTION.body(json.dumps(body).encode(), Kind.JSON)
        assert told is not None
        assert MASK in told
        assert value not in told
        assert core not in told or core in {
            "postgresql",
            "example.com",
            "reset_token",
            "Authorization",
            "password",
            "basic",
            "the",
        }
    assert not are_plain(["Oak desk", value])
    told = REDACTION.body(urlencode({"note": value, "n": 1}).encode(), Kind.FORM)
    assert told is not None
    assert value not in told


@pytest.mark.parametrize("password", ["hun/ter", "/hun:@t/er", "8080/hunter", "hun?t/er#"])
def test_a_password_in_a_url_may_hold_what_ends_one(password: str) -> None:
    told = REDACTION.text(f"at https://bob:{password}@shop.example/items?page=2 now")
    assert MASK in told
    assert "hun" not in told
    assert "8080" not in told


@pytest.mark.parametrize("number", [4111111111111111, 4111111111111111.0, [5555555555554444]])
def test_card_numbers_may_be_numbers(number: Any) -> None:
    told = REDACTION.body(json.dumps({"n": number}).encode(), Kind.JSON)
    assert told in {f'{{"n":"{MASK}"}}', f'{{"n":["{MASK}"]}}'}


def test_what_is_no_secret_stays() -> None:
    body = {
        "id": "0b7e1f7e-6f0e-4c3f-9a53-2f4d3c1c2a10",
        "when": "2026-11-23T12:00:00Z",
        "millis": 1795430400001,
        "note": "the token has expired, ask for another one",
        "detail": "E-mail address or password is wrong.",
        "message": "This password is too short",
        "plan": "Basic support is included",
        "at": "http://localhost:8080/items",
        "token_type": "bearer",
        "passenger": "Anna",
        "cardinality": 3,
        "pinned": True,
        "url": "https://example.com/items?page=2",
        "price": 12.5,
        "none": None,
        "empty": {"list": [], "text": ""},
    }
    told = REDACTION.body(json.dumps(body).encode(), Kind.JSON)
    assert told is not None
    assert json.loads(told) == body


def test_an_object_that_names_a_secret_keeps_its_value_to_itself() -> None:
    for body in (
        {"loc": ["body", "password"], "input": SECRET, "msg": f"not {SECRET}"},
        {"Name": "user_password", "value": SECRET},
        {"value": SECRET, "key": "api-key"},
        {"pointer": "/user/password", "detail": [SECRET]},
        {"label": "Password", "value": {"text": SECRET}},
        [["user", "bob"], ["password", SECRET]],
        ["Api-Key", [SECRET]],
        {"headers": [{"name": "Authorization", "value": SECRET}], "why": f"not {SECRET}"},
        {"form": ["password", SECRET], "why": f"not {SECRET}"},
    ):
        told = REDACTION.body(json.dumps([body]).encode(), Kind.JSON)
        assert told is not None
        assert SECRET not in told


texts = st.lists(
    st.text(max_size=20)
    | st.sampled_from(LOOKS)
    | st.lists(
        st.sampled_from([*"@:=[ -.\n+_0A1b", "2026-11-23T12:00:00Z", "pin", "is", "4111", "basic"]),
        max_size=25,
    ).map("".join)
    | st.from_regex(r"[A-Z]{2}\d{2}( ?[A-Z0-9]{4}){3,5}", fullmatch=True)
    | st.from_regex(r"\d([ -]?\d){11,19}|[a-z0-9+-]{38,42}", fullmatch=True),
    max_size=6,
)


@settings(max_examples=400, deadline=None)
@given(texts)
def test_what_one_look_clears_a_look_at_each_clears_too(several: list[str]) -> None:
    if are_plain(several):
        assert [REDACTION.text(each) for each in several] == several


def test_one_look_clears_what_bodies_are_mostly_made_of() -> None:
    assert are_plain(
        [
            "0b7e1f7e-6f0e-4c3f-9a53-2f4d3c1c2a10",
            "2026-11-23T12:00:00.123Z",
            "2026-11-23 12:00:00+01:00",
            "SKU-00007",
            "Solid oak, 2 m wide; comes in 5 parts (some assembly).",
        ]
    )


def test_own_rules_come_on_top() -> None:
    own = Redaction(names=["Kunden-Nr"], patterns=[r"K-\d+"], harmless=["email_count"])
    body = {"kundenNr": SECRET, "note": "K-4711 called", "email_count": 3, "password": SECRET}
    assert own.body(json.dumps(body).encode(), Kind.JSON) == (
        f'{{"kundenNr":"{MASK}","note":"{MASK} called","email_count":3,"password":"{MASK}"}}'
    )
    with pytest.raises(ValueError, match="letters or digits"):
        Redaction(names=["--"])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([Kind.JSON, Kind.FORM, Kind.TEXT]))
def test_any_bytes_are_told_or_withheld(body: bytes, kind: Kind) -> None:
    told = REDACTION.body(body, kind)
    assert told is None or isinstance(told, str)


def test_of_a_secret_that_begins_with_another_nothing_stays() -> None:
    longest = "hunter2" + "xyz" * 13
    several = [longest[:length] for length in range(6, len(longest) + 1)]
    body = json.dumps({"passwords": several, "detail": f"{longest} is refused"}).encode()
    told = Redaction().body(body, Kind.JSON)
    assert told is not None
    assert json.loads(told)["detail"] == "[redacted] is refused"


def test_a_secret_that_is_a_number_goes_wherever_it_is_repeated() -> None:
    told = Redaction().body(b'{"pin": 908172, "seen": 908172, "why": "not 908172"}', Kind.JSON)
    assert told is not None
    assert "908172" not in told


def test_a_secret_that_is_escaped_goes_however_deep_it_is_repeated() -> None:
    secret = 'hun"ter\\7'
    deeper = json.dumps({"why": f"not {secret}", "deep": json.dumps([f"see {secret}"])})
    for body in (
        {"password": secret, "note": deeper},
        {"note": json.dumps({"password": secret, "deep": deeper}), "last": f"not {secret}"},
    ):
        told = Redaction().body(json.dumps(body).encode(), Kind.JSON)
        assert told is not None
        assert "hun" not in told
        json.loads(told)
        assert "hun" not in Redaction().text(json.dumps(body))


def test_a_secret_that_is_part_of_the_mask_leaves_the_mask_whole() -> None:
    told = Redaction().body(b'{"password": "redact", "pin": "[redacted]"}', Kind.JSON)
    assert told == f'{{"password":"{MASK}","pin":"{MASK}"}}'


def test_own_patterns_are_such_that_no_text_is_slow_for_them() -> None:
    own = Redaction(patterns=[r"(?i)k-\d+"])
    assert own.text("K-1 and k-22") == f"{MASK} and {MASK}"
    assert own.text("K-1 " * 1_000) == MASK
    for pattern in (r"(?<=x)y", r"(a)\1", r"("):
        with pytest.raises(ValueError, match="RE2 cannot read"):
            Redaction(patterns=[pattern])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pin \u00e9: x", f"pin \u00e9: {MASK}"),
        ("a:pin x=1", f"a:pin x={MASK}"),
        ("password " + "x y " * 11 + ": 1", None),
        ("password " + "x y " * 11 + ":pin: 1", "password " + "x y " * 11 + f":pin: {MASK}"),
        ("\ud55c\ud800 the pin is 12", f"\ud55c\ud800 the pin is {MASK}"),
        ("the pin is not known.  ", None),
        ("password=  ", None),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", MASK),
        ("\uff14\uff11\uff11\uff11 1111 1111 1111", MASK),
        ("1234 5678 9012 3456", None),
        ("1-11-1-1-11-1-1-1-1-1-1-1-1-1-1", MASK),
    ],
)
def test_what_is_masked_begins_at_the_value(text: str, told: str | None) -> None:
    assert Redaction().text(text) == (text if told is None else told)
