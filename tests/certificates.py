"""Certificates for tests, made by openssl: a certificate authority, and what it signs."""

import subprocess
from pathlib import Path


class Authority:
    """A certificate authority.

    Args:
        folder: Where everything is written; the users of a key must be able to read it.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self.file = folder / f"{name}.crt"
        self._key = folder / f"{name}.key"
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "1", "-subj", f"/CN={name}"),
            *("-keyout", self._key, "-out", self.file),
        )

    def sign(self, name: str, subject: str = "IP:127.0.0.1", days: int = 1) -> tuple[Path, Path]:
        """Create a certificate and its key; with -1 days it has expired."""
        key, request = self._folder / f"{name}.key", self._folder / f"{name}.csr"
        certificate, more = self._folder / f"{name}.crt", self._folder / f"{name}.ext"
        more.write_text(f"subjectAltName={subject}\n")
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", f"/CN={name}", "-keyout", key, "-out", request),
        )
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key),
            *("-CAcreateserial", "-days", days, "-extfile", more, "-out", certificate),
        )
        key.chmod(0o644)  # the server runs as another user; the key protects nothing
        return certificate, key


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
