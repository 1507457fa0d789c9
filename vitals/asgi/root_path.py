"""Paths below a root path, as the routes of an application see them."""


def below_root(path: str, root: str) -> str:
    """The part of a path that the routes match (ASGI's ``path`` holds ``root_path`` or not).

    A proxy that strips a prefix leaves paths without it, one that does not leaves it, and a mount
    adds it. The prefix ends at a slash: ``/metrics`` is not below ``/m``.

    Args:
        path: The scope's ``path``.
        root: The scope's ``root_path``; a slash at its end, or alone, means nothing.
    """
    root = root.rstrip("/")
    if root and path.startswith(root):
        rest = path[len(root) :]
        if not rest or rest[0] == "/":
            return rest
    return path
