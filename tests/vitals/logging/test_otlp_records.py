"""Severities and stack traces of exported records."""

import logging

import pytest

from vitals.logging.exception_stacks import as_dicts, capture
from vitals.logging.otlp_records import rejected, severity, stacktrace


@pytest.mark.parametrize(
    ("level", "number"),
    [("DEBUG", 5), ("INFO", 9), ("WARNING", 13), ("ERROR", 17), ("CRITICAL", 21), ("NONE", 0)],
)
def test_severities(level: str, number: int) -> None:
    assert severity(level) == number


def test_a_level_of_the_host_lies_between_others() -> None:
    logging.addLevelName(25, "EXPORTED_SUCCESS")
    assert 9 < severity("EXPORTED_SUCCESS") < 13


def test_a_stack_trace_reads_as_pythons_without_source_lines() -> None:
    def fail() -> None:
        try:
            dict[str, str]()["first"]
        except KeyError as error:
            raise ExceptionGroup("several", [ValueError("in it")]) from error

    with pytest.raises(ExceptionGroup) as raised:
        fail()
    raised.value.add_note("a note")
    text = stacktrace(as_dicts(capture(raised.value)))
    lines = text.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[2] == "KeyError: 'first'"
    assert "The above exception was the direct cause of the following exception:" in lines
    assert lines[-3:] == [
        "ExceptionGroup: several (1 sub-exception)",
        "a note",
        "  | ValueError: in it",
    ]
    assert "raise" not in text


def test_an_answer_that_is_no_protobuf_rejects_nothing() -> None:
    assert rejected(b"<html>") == 0
