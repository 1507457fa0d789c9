"""Tests of what only the extras bring, in files whose other tests run on the core too."""

from importlib.util import find_spec

import pytest

needs_extras = pytest.mark.skipif(
    find_spec("re2") is None, reason="google-re2 has no wheel for this Python"
)
