from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.secret_files import SecretError, made_secret, read_secret, refuse_guessable


@pytest.mark.parametrize(
    "value",
    ["changeme", "CHANGETHIS", "secret", "secretsecretsecretsecretsecretsecret", "a" * 40, "", "x"],
)
def test_guessable_secrets_are_refused(value: str) -> None:
    with pytest.raises(SecretError) as caught:
        refuse_guessable(value, "the key", least=32)
    assert "the key" in str(caught.value)


def test_a_random_secret_passes() -> None:
    refuse_guessable("0f9b1c5ad3e84b7796d2" * 2, "the key", least=32)


def test_secret_is_created_once_with_owner_mode(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"
    with ThreadPoolExecutor(8) as workers:
        made = {*workers.map(lambda _: made_secret(path, "the key", least=32), range(16))}
    assert len(made) == 1
    assert len(made.pop()) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["key"]


def test_a_weak_secret_in_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("changeme\n")
    with pytest.raises(SecretError, match="known default"):
        made_secret(path, "the key", least=32)


def test_unreadable_secret_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="nowhere"):
        read_secret(tmp_path / "nowhere", "the key", least=32)
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretError, match="the key"):
        made_secret(tmp_path / "file" / "key", "the key", least=32)
