"""Mail, as a real server on this machine takes it."""

from __future__ import annotations

import pytest

from events.notification import NotificationType
from pandar_daemon.adapters.channels.mail import Smtp, message, smtp_of
from pandar_daemon.adapters.channels.registry import ChannelOptions, Registry
from pandar_daemon.ports import Channels, Fate
from tests.support.clock import ManualClock
from tests.support.given import TASK_ID
from tests.support.notices import item, notice, number
from tests.support.receiver import LOCAL, MailServer, mail_server

TO = "mailto:ann@example.org"
SENDER = "Pandar <pandar@example.net>"


def channels(server: MailServer | None, clock: ManualClock) -> Channels:
    """Return channels with a mail server, or with none."""
    smtp = None
    if server is not None:
        smtp = smtp_of(f"smtp://{LOCAL}:{server.port}?from=pandar@example.net")
    return Registry(ChannelOptions(secrets=(b"m",), smtp=smtp), clock)


async def test_a_mail_is_sent(clock: ManualClock) -> None:
    """As text and as HTML, both with the link; it says that a program wrote it."""
    async with mail_server() as server:
        sent = await channels(server, clock).send(TO, notice())
        assert sent.fate is Fate.SENT
        recipients, mail = await server.mail()
    assert recipients == ["ann@example.org"]
    assert mail["To"] == "ann@example.org"
    assert mail["Subject"] == "Approval needed: tidy up"
    assert mail["Message-ID"] == f"<{number(50)}@example.net>"
    assert mail["References"] == f"<task-{TASK_ID}@example.net>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"] == "Fri, 02 Jan 2026 03:04:05 +0000"
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    for part in (text, html):
        assert "git push origin main" in part.get_content()
        assert "https://pandar.example.org/a/secret" in part.get_content()
    assert "Look and decide: https" in text.get_content()


@pytest.mark.parametrize(
    ("answer", "fate"),
    [
        ("550 5.1.1 no such ann@example.org", Fate.REFUSED),
        ("554 no", Fate.REFUSED),
        ("450 greylisted", Fate.LATER),
    ],
)
async def test_what_a_server_says(clock: ManualClock, answer: str, fate: Fate) -> None:
    """5xx is for good, 4xx for now; what it quotes is not repeated."""
    async with mail_server() as server:
        server.refusals.append(answer)
        sent = await channels(server, clock).send(TO, notice())
    assert sent.fate is fate
    assert sent.detail == f"the mail server says {answer[:3]}"


async def test_a_server_that_is_away_is_tried_again(clock: ManualClock) -> None:
    """Nobody listens on its port."""
    async with mail_server() as server:
        pass
    sent = await channels(server, clock).send(TO, notice())
    assert sent.fate is Fate.LATER
    assert sent.detail.startswith("no mail server: ")


async def test_without_a_server_it_is_refused(clock: ManualClock) -> None:
    """The administrator is told what to set."""
    sent = await channels(None, clock).send(TO, notice())
    assert sent.fate is Fate.REFUSED
    assert "PANDAR_SMTP_URL" in sent.detail


async def test_a_password_is_not_sent_in_the_clear(clock: ManualClock) -> None:
    """A server that offers no TLS gets nothing, however it was configured."""
    async with mail_server() as server:
        smtp = Smtp(
            host=LOCAL,
            port=server.port,
            sender=SENDER,
            user="u",
            password="secret",
            security="starttls",
        )
        options = ChannelOptions(secrets=(b"m",), smtp=smtp)
        sent = await Registry(options, clock).send(TO, notice())
    assert sent.fate is Fate.LATER


def test_nothing_is_markup() -> None:
    """HTML of an agent is shown as text, and a title cannot add headers."""
    text = '<img src="https://evil.example/x"> & "more"'
    mail = message(notice(item(title=text, content=text)), SENDER, "ann@example.org")
    html = mail.get_body(("html",))
    assert html is not None
    assert "<img" not in html.get_content()
    assert mail["Subject"] == text
    with pytest.raises(ValueError, match=r"newline|linefeed"):
        message(notice(title="a\r\nBcc: x@example.org"), SENDER, "ann@example.org")


def test_several_are_one_mail() -> None:
    """Each with its link; a digest belongs to no task's thread."""
    done = item(2, kind=NotificationType.TASK_COMPLETED, title="Completed: x", url="https://p/2")
    mail = message(notice(item(), done, digest=True), SENDER, "ann@example.org")
    text = mail.get_body(("plain",))
    assert text is not None
    assert "Open: https://p/2" in text.get_content()
    assert mail["References"] is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "smtp://ann:p%40ss@mail.example.org?from=a@example.org",
            Smtp(
                host="mail.example.org",
                port=587,
                sender="a@example.org",
                user="ann",
                password="p@ss",
            ),
        ),
        (
            "smtps://mail.example.org:4650?from=Pandar%20%3Ca@example.org%3E",
            Smtp(
                host="mail.example.org", port=4650, sender="Pandar <a@example.org>", security="tls"
            ),
        ),
        (
            "smtp://localhost:2525?from=a@b",
            Smtp(host="localhost", port=2525, sender="a@b", security="if_offered"),
        ),
    ],
)
def test_a_server_by_url(url: str, expected: Smtp) -> None:
    """As configuration names it: encrypted, but to this machine."""
    assert smtp_of(url) == expected


@pytest.mark.parametrize("url", ["", "http://x?from=a@b", "smtp://?from=a@b", "smtp://u:secret@x"])
def test_a_url_that_names_no_server(url: str) -> None:
    """What is expected is said, and no password repeated."""
    with pytest.raises(ValueError, match="expected smtp") as raised:
        smtp_of(url)
    assert "secret" not in str(raised.value)
