"""Pins container images by digest.

``python -m stack.install.images`` asks Docker for the current digest of each tag in compose.yaml
and the Dockerfile, and writes it behind the tag. A tag may be moved to another image; a digest
cannot. The project's own images are built locally and have none.
"""

import re
import subprocess
import sys
from collections.abc import Callable

from stack.installation.paths import CHECKOUT

FILES = ("compose.yaml", "Dockerfile")
_IMAGE = re.compile(
    r"^(?P<before>\s*image:\s*|FROM\s+)(?P<image>(?!vitals-)[^\s@]+:[^\s@]+)(?:@\S+)?(?=\s|$)",
    re.MULTILINE,
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class UnknownImageError(RuntimeError):
    """Docker returned no digest for an image; the message holds its output."""


def pin(text: str, digest_of: Callable[[str], str]) -> str:
    """Return a file's text with the digest behind each image's tag, replacing an older one.

    Args:
        text: Content of compose.yaml or a Dockerfile.
        digest_of: Returns the digest of an image's name with its tag.

    Raises:
        UnknownImageError: It returned no digest.
    """

    def add_digest(found: re.Match[str]) -> str:
        digest = digest_of(found["image"])
        if not _DIGEST.fullmatch(digest):
            raise UnknownImageError(f"{found['image']}: {digest!r} is not a digest")
        return f"{found['before']}{found['image']}@{digest}"

    return _IMAGE.sub(add_digest, text)


def fetch_digest(image: str) -> str:
    """The digest of an image's multi-platform manifest, from its registry.

    Raises:
        UnknownImageError: Docker is missing, or the registry cannot be reached.
    """
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}"]
    try:
        done = subprocess.run([*command, image], check=False, capture_output=True, text=True)
    except OSError as error:
        raise UnknownImageError(f"{image}: Docker cannot be run: {error}") from error
    if done.returncode:
        raise UnknownImageError(f"{image}: {done.stderr.strip()}")
    return done.stdout.strip()


def main() -> int:
    """Pin all images, or none if one fails."""
    try:
        texts = {name: pin((CHECKOUT / name).read_text(), fetch_digest) for name in FILES}
    except UnknownImageError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    for name, text in texts.items():
        (CHECKOUT / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
