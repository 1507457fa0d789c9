"""Settings of the door: sensible defaults, and errors that name the variable."""

from pathlib import Path

import bcrypt
import pytest

from stack.door.settings import DoorSettings, DoorSettingsError

URL = "https://watch.example.com"


def read(url: str = URL, **given: str) -> DoorSettings:
    settings = DoorSettings.read({"PUBLIC_URL": url, **given})
    assert settings
    return settings


@pytest.mark.parametrize(
    ("url", "tls"),
    [
        (URL, "acme"),
        ("https://watch.example.com:8443", "internal"),
        ("https://watch.corp", "internal"),
        ("https://watch.shop.internal", "internal"),
        ("https://nas.home.arpa", "internal"),
        ("https://watch", "internal"),
        ("https://10.0.0.7", "internal"),
        ("http://127.0.0.1:8080", "off"),
    ],
)
def test_a_name_that_authorities_certify_gets_a_certificate_of_one(url: str, tls: str) -> None:
    assert read(url).tls == tls


def test_it_listens_everywhere_unless_the_address_is_of_this_machine() -> None:
    assert (read().host, read().port) == ("0.0.0.0", 443)  # noqa: S104 - of the door
    assert (read("http://localhost:81").host, read("http://localhost:81").port) == ("127.0.0.1", 81)
    assert (read(PUBLIC_LISTEN=":8443").host, read(PUBLIC_LISTEN="[::1]:1").host) == (
        "0.0.0.0",  # noqa: S104
        "::1",
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"PUBLIC_TLS": "yes"}, "PUBLIC_TLS=yes: must be one of acme"),
        ({"PUBLIC_TLS": "off"}, "readable on the network"),
        ({"PUBLIC_TLS": "files"}, "needs PUBLIC_TLS_CERT_FILE and PUBLIC_TLS_KEY_FILE"),
        ({"PUBLIC_TLS_CERT_FILE": __file__}, "needs PUBLIC_TLS_CERT_FILE and PUBLIC_TLS_KEY_FILE"),
        ({"PUBLIC_TLS_CERT_FILE": "/nowhere"}, "cannot read /nowhere: No such file"),
        ({"PUBLIC_LISTEN": "8443"}, "write ADDRESS:PORT"),
        ({"PUBLIC_LISTEN": "watch.example.com:8443"}, "write ADDRESS:PORT"),
        ({"PUBLIC_LISTEN": ":0"}, "write ADDRESS:PORT"),
        ({"PUBLIC_TLS": "internal", "PUBLIC_ACME_EMAIL": "a@b.org"}, "no use without"),
        ({"PUBLIC_ACME_URL": "http://ca"}, "https:// address"),
        ({"PUBLIC_ACME_EMAIL": "a b"}, "must be an address"),
        ({"PUBLIC_USER": "a:b"}, "must be letters"),
        ({"PUBLIC_USER": "a", "PUBLIC_USERS_FILE": __file__}, "set one of them"),
        ({"PUBLIC_USERS_FILE": __file__}, "line 1 of .* is no NAME:HASH"),
        ({"PUBLIC_OAUTH2_PROXY": "http://127.0.0.1:4180"}, "write HOST:PORT"),
    ],
)
def test_a_wrong_setting_is_an_error(given: dict[str, str], said: str) -> None:
    with pytest.raises(DoorSettingsError, match=said):
        read(**given)


def test_settings_without_an_address_are_an_error() -> None:
    assert DoorSettings.read({}) is None
    with pytest.raises(DoorSettingsError, match="PUBLIC_TLS: of no use without PUBLIC_URL"):
        DoorSettings.read({"PUBLIC_TLS": "acme"})


def test_http_of_this_machine_stays_on_it() -> None:
    with pytest.raises(DoorSettingsError, match=r"with http only 127\.0\.0\.1"):
        read("http://localhost:8080", PUBLIC_LISTEN=":8080")
    with pytest.raises(DoorSettingsError, match="must begin with https"):
        read("http://localhost:8080", PUBLIC_TLS="internal")
    assert read(PUBLIC_TLS="off", PUBLIC_LISTEN="127.0.0.1:8080").tls == "off"


def test_an_authority_of_ones_own_certifies_any_name() -> None:
    own = read("https://watch.corp", PUBLIC_ACME_URL="https://ca.corp/acme/directory")
    assert own.tls == "acme"
    with pytest.raises(DoorSettingsError, match="Let's Encrypt has no certificate"):
        read("https://watch.corp", PUBLIC_TLS="acme")


def test_a_file_of_users_is_that_of_htpasswd(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"long enough to be one", bcrypt.gensalt(4)).decode()
    file = tmp_path / "users"
    file.write_text(f"# the team\nann:{hashed}\n\nbob:{hashed.replace('$2b$', '$2y$')}\n")
    assert {*read(PUBLIC_USERS_FILE=str(file)).users} == {"ann", "bob"}
