"""The public address: an origin, and a clear error for everything else."""

import pytest

from stack.installation.public_url import PublicUrl, PublicUrlError


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://watch.example.com", "https://watch.example.com"),
        ("https://Watch.Example.com:443/", "https://watch.example.com"),
        ("https://watch.example.com:8443", "https://watch.example.com:8443"),
        ("https://10.0.0.7", "https://10.0.0.7"),
        ("https://[fd00::7]:8443", "https://[fd00::7]:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_an_origin_is_accepted(text: str, origin: str) -> None:
    url = PublicUrl.of(text)
    assert url
    assert url.origin == origin


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("watch.example.com", "write it as https://"),
        ("ftp://watch.example.com", "write it as https://"),
        ("https://", "no host name"),
        ("https://:8443", "no host name"),
        ("https://watch_1.example.com", "no host name"),
        ("https://watch..example.com", "no host name"),
        ("https://1.2.3", "no host name"),
        ("https://[fe80::1%eth0]", "no host name"),
        ("https://watch.example.com:99999", "[Pp]ort"),
        ("https://watch.example.com:0", "port from 1"),
        ("https://watch.example.com/observe", "a path is not supported"),
        ("https://watch.example.com?x=1", "a query is not supported"),
        ("https://watch.example.com#x", "a query is not supported"),
        ("http://watch.example.com", "readable on the network"),
        ("https://watch.example.com\n", "write it as https://"),
    ],
)
def test_anything_else_is_refused(text: str, said: str) -> None:
    with pytest.raises(PublicUrlError, match=said):
        PublicUrl.of(text)


def test_a_login_is_refused_and_not_repeated() -> None:
    with pytest.raises(PublicUrlError, match="must not hold a login") as error:
        PublicUrl.of("https://ann:hunter2@watch.example.com")
    assert "hunter2" not in str(error.value)


def test_no_address_is_none() -> None:
    assert PublicUrl.of("") is None
