"""No planted secret survives redaction, wherever it stands."""

import json
import re
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitals import Redaction
from vitals.asgi.content_type import BodyKind
from vitals.redaction.secret_patterns import contain_no_secrets
from vitals.redaction.sensitive_fields import MASK, NAME_PARTS, NAME_WORDS

REDACTION = Redaction()
SECRET = "hunter-two-7"

plain = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | plain
names = st.sampled_from((*NAME_PARTS, *NAME_WORDS))
separators = st.sampled_from(["", "_", "-", ".", " "])


@st.composite
def secret_names(draw: st.DrawFn) -> str:
    """A sensitive name in any case, with prefixes, suffixes and separators."""
    name = draw(names)
    written = "".join(draw(st.sampled_from([letter, letter.upper()])) for letter in name)
    if name in NAME_WORDS:
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
    """A document with the secret under a sensitive name, at any depth."""
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


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(planted(), st.booleans())
def test_no_secret_survives_in_json(value: Any, escaped: bool) -> None:  # noqa: FBT001
    body = json.dumps(value, ensure_ascii=escaped)
    if escaped:  # every letter may be escaped
        body = body.replace("a", "\\u0061").replace("\\\\u0061", "a")
    redacted = REDACTION.body(body.encode(), BodyKind.JSON)
    assert redacted is None or SECRET not in redacted


@settings(max_examples=300, deadline=None)
@given(secret_names(), st.dictionaries(plain, plain, max_size=3), st.sampled_from("&;"))
def test_no_secret_survives_in_a_form(name: str, others: dict[str, str], joint: str) -> None:
    # Joined with its value, a short word such as "pin" is no longer a word.
    fused = "" if name.lower().endswith(tuple(NAME_WORDS)) else f"{quote_plus(name)}{SECRET}&b=2"
    for body in (
        fused,
        urlencode([*others.items(), (name, SECRET), ("z", "1")]),
        f"a=1{joint}{quote_plus(name)}={SECRET}{joint}b=2",
        f"{quote_plus(name + '=' + SECRET)}&b=2",
    ):
        redacted = REDACTION.body(body.encode(), BodyKind.FORM)
        assert redacted is None or SECRET not in redacted, body


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
def test_secret_patterns_are_redacted_anywhere(value: str) -> None:
    core = max(re.findall(r"[\w.+-]+", value.replace("WEST", "")), key=len)
    for body in ({"note": f"see {value} now"}, [value], value, {value: 1}, {"n": {"m": [value]}}):
        redacted = REDACTION.body(json.dumps(body).encode(), BodyKind.JSON)
        assert redacted is not None
        assert MASK in redacted
        assert value not in redacted
        assert core not in redacted or core in {
            "postgresql",
            "example.com",
            "reset_token",
            "Authorization",
            "password",
            "basic",
            "the",
        }
    assert not contain_no_secrets(["Oak desk", value])
    redacted = REDACTION.body(urlencode({"note": value, "n": 1}).encode(), BodyKind.FORM)
    assert redacted is not None
    assert value not in redacted


@pytest.mark.parametrize("password", ["hun/ter", "/hun:@t/er", "8080/hunter", "hun?t/er#"])
def test_a_password_in_a_url_may_contain_delimiters(password: str) -> None:
    redacted = REDACTION.text(f"at https://bob:{password}@shop.example/items?page=2 now")
    assert MASK in redacted
    assert "hun" not in redacted
    assert "8080" not in redacted


@pytest.mark.parametrize("number", [4111111111111111, 4111111111111111.0, [5555555555554444]])
def test_card_numbers_may_be_json_numbers(number: Any) -> None:
    redacted = REDACTION.body(json.dumps({"n": number}).encode(), BodyKind.JSON)
    assert redacted in {f'{{"n":"{MASK}"}}', f'{{"n":["{MASK}"]}}'}


def test_harmless_values_are_kept() -> None:
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
    redacted = REDACTION.body(json.dumps(body).encode(), BodyKind.JSON)
    assert redacted is not None
    assert json.loads(redacted) == body


def test_an_object_that_names_a_secret_has_its_values_redacted() -> None:
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
        redacted = REDACTION.body(json.dumps([body]).encode(), BodyKind.JSON)
        assert redacted is not None
        assert SECRET not in redacted


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
def test_the_combined_check_agrees_with_the_check_of_each_text(several: list[str]) -> None:
    if contain_no_secrets(several):
        assert [REDACTION.text(each) for each in several] == several


def test_the_combined_check_clears_typical_bodies() -> None:
    assert contain_no_secrets(
        [
            "0b7e1f7e-6f0e-4c3f-9a53-2f4d3c1c2a10",
            "2026-11-23T12:00:00.123Z",
            "2026-11-23 12:00:00+01:00",
            "SKU-00007",
            "Solid oak, 2 m wide; comes in 5 parts (some assembly).",
        ]
    )


def test_custom_names_and_patterns_apply_too() -> None:
    own = Redaction(names=["Kunden-Nr"], patterns=[r"K-\d+"], harmless=["email_count"])
    body = {"kundenNr": SECRET, "note": "K-4711 called", "email_count": 3, "password": SECRET}
    assert own.body(json.dumps(body).encode(), BodyKind.JSON) == (
        f'{{"kundenNr":"{MASK}","note":"{MASK} called","email_count":3,"password":"{MASK}"}}'
    )
    with pytest.raises(ValueError, match="letters or digits"):
        Redaction(names=["--"])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([BodyKind.JSON, BodyKind.FORM, BodyKind.TEXT]))
def test_any_bytes_are_redacted_or_withheld(body: bytes, kind: BodyKind) -> None:
    redacted = REDACTION.body(body, kind)
    assert redacted is None or isinstance(redacted, str)


def test_a_secret_that_is_a_prefix_of_another_leaves_no_rest() -> None:
    longest = "hunter2" + "xyz" * 13
    several = [longest[:length] for length in range(6, len(longest) + 1)]
    body = json.dumps({"passwords": several, "detail": f"{longest} is refused"}).encode()
    redacted = Redaction().body(body, BodyKind.JSON)
    assert redacted is not None
    assert json.loads(redacted)["detail"] == "[redacted] is refused"


def test_a_numeric_secret_is_redacted_wherever_it_is_repeated() -> None:
    redacted = Redaction().body(
        b'{"pin": 908172, "seen": 908172, "why": "not 908172"}', BodyKind.JSON
    )
    assert redacted is not None
    assert "908172" not in redacted


def test_an_escaped_secret_is_redacted_at_any_depth() -> None:
    secret = 'hun"ter\\7'
    deeper = json.dumps({"why": f"not {secret}", "deep": json.dumps([f"see {secret}"])})
    for body in (
        {"password": secret, "note": deeper},
        {"note": json.dumps({"password": secret, "deep": deeper}), "last": f"not {secret}"},
    ):
        redacted = Redaction().body(json.dumps(body).encode(), BodyKind.JSON)
        assert redacted is not None
        assert "hun" not in redacted
        json.loads(redacted)
        assert "hun" not in Redaction().text(json.dumps(body))


def test_a_secret_that_is_part_of_the_mask_leaves_the_mask_intact() -> None:
    redacted = Redaction().body(b'{"password": "redact", "pin": "[redacted]"}', BodyKind.JSON)
    assert redacted == f'{{"password":"{MASK}","pin":"{MASK}"}}'


def test_custom_patterns_are_linear_in_time() -> None:
    own = Redaction(patterns=[r"(?i)k-\d+"])
    assert own.text("K-1 and k-22") == f"{MASK} and {MASK}"
    assert own.text("K-1 " * 1_000) == MASK
    for pattern in (r"(?<=x)y", r"(a)\1", r"("):
        with pytest.raises(ValueError, match="RE2 cannot read"):
            Redaction(patterns=[pattern])


@pytest.mark.parametrize(
    ("text", "redacted"),
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
def test_the_mask_starts_at_the_value(text: str, redacted: str | None) -> None:
    assert Redaction().text(text) == (text if redacted is None else redacted)


NAMED = (
    *(
        "Passwort",
        "userPasswort",
        "비밀번호",
        "пароль",
        "ПАРОЛЬ",
        "pw",
        "user_pw",
        "userPw",
        "senha",
    ),
    *(
        "contraseña",
        "CONTRASEN\u0303A",
        "Mot-de-passe",
        "motDePasse",
        "密码",
        "密碼",
        "パスワード",
        "hasło",
    ),
    *(
        "pasword",
        "passwrod",
        "pssword",
        "passworrd",
        "user.pasword",
        "autorization",
        "authorisation",
    ),
    *("signing_key", "signingKey", "SIGNING-KEY", "jwt.signing.key", "encryption-key", "hmacKey"),
    *("ｐａｓｓｗｏｒｄ", "Ｔｏｋｅｎ", "şifre", "lösenord", "κωδικός", "crendential"),
)
NAMED_OTHERWISE = (
    *("passport", "keyword", "compass", "passenger", "crossword", "postcode", "primary_key"),
    *("assignment", "company", "spinner", "author", "discard", "token_type", "password_length"),
    *("session_count", "password_changed_at", "email_verified", "credit", "pwm", "sentence"),
)


@pytest.mark.parametrize("name", NAMED)
def test_sensitive_names_match_in_other_languages_short_and_misspelt(name: str) -> None:
    body = {name: SECRET, "in": [{"kind": name, "value": SECRET}]}
    for document in (
        body,
        {"note": json.dumps(body)},
        {"note": f"{name}: {SECRET}"},
        [name, SECRET],
    ):
        redacted = REDACTION.body(json.dumps(document).encode(), BodyKind.JSON)
        assert redacted is not None
        assert SECRET not in redacted, document


@pytest.mark.parametrize("name", NAMED_OTHERWISE)
def test_similar_but_harmless_names_are_kept(name: str) -> None:
    body = json.dumps({name: "oak desk 7"}, separators=(",", ":"))
    assert REDACTION.body(body.encode(), BodyKind.JSON) == body


@pytest.mark.parametrize("flag", [True, False, None])
def test_booleans_and_null_under_a_sensitive_name_are_kept(flag: bool | None) -> None:  # noqa: FBT001
    body = json.dumps({"password": flag}, separators=(",", ":"))
    assert REDACTION.body(body.encode(), BodyKind.JSON) == body


@pytest.mark.parametrize(
    "pair",
    [
        {"type": "password", "value": SECRET},
        {"type": "password", "text": SECRET, "id": 7},
        {"name": "token", "value": SECRET},
        {"key": "api_key", "val": SECRET},
        {"k": "pw", "v": SECRET},
        {"kind": "Passwort", "content": {"new": SECRET}},
        {"field": "пароль", "input": SECRET},
        {"loc": ["body", "password"], "type": "missing", "input": {"x": SECRET}},
    ],
)
def test_a_value_beside_its_sensitive_name_is_redacted(pair: dict[str, Any]) -> None:
    redacted = REDACTION.body(json.dumps([pair]).encode(), BodyKind.JSON)
    assert redacted is not None
    assert SECRET not in redacted
    if all(type(value) is str for value in pair.values()):
        redacted = REDACTION.body(urlencode(pair).encode(), BodyKind.FORM)
        assert redacted is not None
        assert SECRET not in redacted


def test_a_type_redacts_only_the_value_beside_it() -> None:
    body = b'{"type":"session","page":"orders","value":"x","at":7}'
    redacted = b'{"type":"session","page":"orders","value":"[redacted]","at":7}'
    assert REDACTION.body(body, BodyKind.JSON) == redacted.decode()


WRITTEN_OTHERWISE = (
    *("4111.1111.1111.1111", "4111/1111/1111/1111", "4111_1111_1111_1111", "3782.822463.10005"),
    *("4111 - 1111 - 1111 - 1111", "4111\u00a01111\u00a01111\u00a01111", "4111\t1111\t1111\t1111"),
    *(
        "４１１１-１１１１-１１１１-１１１１",
        "4.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1",
        "4111–1111–1111–1111",
    ),
    *("DE89.3704.0044.0532.0130.00", "DE89-3704-0044-0532-0130-00", "GB82_WEST_1234_5698_7654_32"),
    *("4111\n1111\n1111\n1111", "\\u0070assword: hunter2", "pass%77ord%3dhunter2"),
    *("123-45-6789", "123.45.6789", "123 45 6789", "１２３-４５-６７８９", "123_45_6789"),
    *("password%3Dhunter2", "password%253Dhunter2", "%70assword=hunter2", "anna%40example.com"),
    *("pass&#119;ord=hunter2", "ｐａｓｓｗｏｒｄ＝hunter2", "password：hunter2", "密码是hunter2"),
    *("<password>hunter2</password>", "<ns:Password a='x'>hunter2</ns:Password>"),
    *('<entry key="password">hunter2</entry>', "<password><![CDATA[hunter2]]></password>"),
    *("<user name='x' password='hunter2'/>", "das Passwort ist hunter2", "pasword=hunter2"),
    *("AKIAIOSFODNN7EXAMPLE", "ghp_16C7e42F292c6912E7710c838347Ae178B4a", "xoxb-123456789012-abc"),
    *("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "AIzaSyA1234567890abcdefghijklmnopqrstuvw"),
)


@pytest.mark.parametrize("value", WRITTEN_OTHERWISE)
def test_encoded_secrets_are_redacted(value: str) -> None:
    for body in ({"note": value}, {"note": f"see {value}"}, [value]):
        redacted = REDACTION.body(json.dumps(body).encode(), BodyKind.JSON)
        assert redacted is not None
        assert MASK in redacted
        assert "hunter2" not in redacted
        assert value not in redacted
    assert not contain_no_secrets([value])


BENIGN = (
    *("2026-11-30", "12:30:45", "react@18.2.0", "550e8400-e29b-41d4-a716-446655440000", "50% off"),
    *("a-very-long-title-of-a-page-about-nothing-in-particular", "192.168.1.100", "1.2.3-rc.4"),
    *("Müller & Söhne", "5 < 6", "1,234,567.89", "978-3-16-148410-0", "(555) 123-4567", "x = 5"),
    *("41.40338, 2.17403", "<b>bold</b>", "the sky is blue", "+49 30 901820", "9f86d081884c7d65"),
)


@pytest.mark.parametrize("value", BENIGN)
def test_benign_values_are_kept(value: str) -> None:
    body = json.dumps({"note": value}, separators=(",", ":"), ensure_ascii=False)
    assert REDACTION.body(body.encode(), BodyKind.JSON) == body
