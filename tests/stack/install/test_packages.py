"""The error for missing packages names them and the install command."""

from pathlib import Path

import pytest

from stack.install import packages
from stack.servers import postgres


def test_without_apt_the_error_shows_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "_DEBIAN", tmp_path)
    with pytest.raises(packages.MissingPackagesError) as refused:
        packages.install()
    for name in ("postgresql", "redis-server", "prometheus", "prometheus-alertmanager"):
        assert name in str(refused.value)
    assert "apt-get install" in str(refused.value)


def test_the_browser_is_needed_only_for_tests(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "chromium" in packages.missing(for_tests=True)
    assert "chromium" not in packages.missing()
