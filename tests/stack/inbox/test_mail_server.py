"""The mail server of the inbox, with Python's own client."""

import smtplib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

import pytest

from stack.inbox import mail_server
from stack.inbox.mail_server import MailServer
from stack.inbox.messages import mail_of


@contextmanager
def receiving(received: list[bytes]) -> Iterator[int]:
    with MailServer(0, received.append) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def mail(text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "watch@example.com", "oncall@example.com"
    message["Subject"] = "[FIRING 1] p95 of „Café“ is 2 s"
    message.set_content(text)
    return message


def test_mails_arrive_as_they_were_written() -> None:
    received: list[bytes] = []
    with receiving(received) as port, smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.send_message(mail("one\n.\n..two\nüber\n"))
        client.send_message(mail("again, in the same conversation\n"))
    first, second = map(mail_of, received)
    assert first.subject == "[FIRING 1] p95 of „Café“ is 2 s"
    assert (first.sender, first.to) == ("watch@example.com", "oncall@example.com")
    assert first.text == "one\n.\n..two\nüber\n"
    assert second.text == "again, in the same conversation\n"


def test_a_mail_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_server, "MAX_BYTES", 2_000)
    received: list[bytes] = []
    with receiving(received) as port:
        with (
            smtplib.SMTP("127.0.0.1", port, timeout=30) as client,
            pytest.raises((smtplib.SMTPException, OSError)),
        ):
            client.send_message(mail("x" * 900 + "\n" + "y" * 900 + "\n" + "z" * 900))
        with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            client.send_message(mail("small"))
    assert [each.count(b"small") for each in received] == [1]


def test_an_unknown_command_ends_nothing() -> None:
    received: list[bytes] = []
    with receiving(received) as port, smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        assert client.docmd("STARTTLS")[0] == 502
        client.send_message(mail("after it"))
    assert len(received) == 1
