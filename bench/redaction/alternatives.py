"""Findings of other tools; runs in a separate environment that has them.

Reads a JSON list of texts from standard input and writes, by tool, what each finds in each text.
Presidio needs language models for names and places; only its pattern recognisers are used.
Findings that are no secrets (URLs, dates, phones, UUIDs, IP and MAC addresses) are ignored.
"""

import json
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

NO_SECRETS = {"URL", "DATE_TIME", "PHONE_NUMBER", "IP_ADDRESS", "MAC_ADDRESS", "UUID"}
MIN_SCORE = 0.4
"""Minimum score of Presidio: lower ones are patterns that need context words."""

Find = Callable[[str], list[str]]


def presidio() -> Find:
    """Presidio's pattern recognisers."""
    from presidio_analyzer import PatternRecognizer, RecognizerRegistry  # noqa: PLC0415

    registry: Any = RecognizerRegistry()
    registry.load_predefined_recognizers()
    recognisers = [each for each in registry.recognizers if isinstance(each, PatternRecognizer)]

    def find(text: str) -> list[str]:
        return [
            text[result.start : result.end]
            for recogniser in recognisers
            for result in recogniser.analyze(text, recogniser.supported_entities, None)
            if result.score >= MIN_SCORE and result.entity_type not in NO_SECRETS
        ]

    return find


def scrubadub() -> Find:
    """Scrubadub's detectors of credentials, cards, social security numbers and e-mail addresses."""
    from scrubadub import Scrubber, detectors  # noqa: PLC0415

    scrubber: Any = Scrubber(
        detector_list=[
            detectors.CredentialDetector(),
            detectors.CreditCardDetector(),
            detectors.EmailDetector(),
            detectors.en_US.SocialSecurityNumberDetector(),
        ]
    )
    return lambda text: [filth.text for filth in scrubber.iter_filth(text)]


def detect_secrets() -> Find:
    """All plugins and filters of detect-secrets, on files."""
    from detect_secrets.core.scan import scan_file  # noqa: PLC0415
    from detect_secrets.settings import default_settings  # noqa: PLC0415

    def find(text: str) -> list[str]:
        with tempfile.TemporaryDirectory() as folder, default_settings():
            file = Path(folder, "sample.json")
            file.write_text(text)
            return [str(found.secret_value) for found in scan_file(str(file))]

    return find


def main() -> None:
    """Read texts and write the findings."""
    logging.disable(logging.CRITICAL)
    texts: list[str] = json.load(sys.stdin)
    found = {
        make.__name__: [list(find(text)) for text in texts]
        for make in (presidio, scrubadub, detect_secrets)
        for find in (make(),)
    }
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
