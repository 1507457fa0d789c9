"""Errors as issues: fingerprints of exceptions, counted once each.

A request has ``error_fingerprint``, and ``has_new_error`` if one of its errors was the first of its
fingerprint in this process.
"""

from vitals.errors.counter import (
    COUNTED,
    FINGERPRINT,
    PLACE,
    ErrorCounter,
    Sighting,
    fingerprint_of,
    note_logged,
)
from vitals.errors.fingerprint import Fingerprint, fingerprint

__all__ = [
    "COUNTED",
    "FINGERPRINT",
    "PLACE",
    "ErrorCounter",
    "Fingerprint",
    "Sighting",
    "fingerprint",
    "fingerprint_of",
    "note_logged",
]
