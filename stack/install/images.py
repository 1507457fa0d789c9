"""The images of containers: pinned by digest, where a registry can be asked for them.

``python -m stack.install.images`` asks Docker for the digest that each tag of compose.yaml and the
Dockerfile has now, and writes it behind the tag. A tag may be moved to another image; a digest
cannot. Our own images are built here and have none.
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
    """Docker does not tell an image's digest; the message holds what it says instead."""


def pinned(text: str, digest_of: Callable[[str], str]) -> str:
    """A file's text with the digest behind each image's tag, in place of an older one.

    Args:
        text: Of compose.yaml or a Dockerfile.
        digest_of: The digest of an image's name with its tag.

    Raises:
        UnknownImageError: What it gives is no digest.
    """

    def pin(found: re.Match[str]) -> str:
        digest = digest_of(found["image"])
        if not _DIGEST.fullmatch(digest):
            raise UnknownImageError(f"{found['image']}: {digest!r} is no digest")
        return f"{found['before']}{found['image']}@{digest}"

    return _IMAGE.sub(pin, text)


def ask(image: str) -> str:
    """The digest of an image, of all platforms together, as its registry tells it.

    Raises:
        UnknownImageError: There is no Docker here, or the registry cannot be reached.
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
    """Pin all images, or none."""
    try:
        texts = {name: pinned((CHECKOUT / name).read_text(), ask) for name in FILES}
    except UnknownImageError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    for name, text in texts.items():
        (CHECKOUT / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
