"""Certificates for tests, made by openssl: an authority, and what it vouches for."""

import subprocess
from pathlib import Path


class Authority:
    """Signs certificates.

    Args:
        folder: Where everything is written; whoever uses a key must be able to read there.
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
        """Make a certificate and its key; with -1 days it has expired."""
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
        key.chmod(0o644)  # the server has an account of its own; the key is worth nothing
        return certificate, key


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
