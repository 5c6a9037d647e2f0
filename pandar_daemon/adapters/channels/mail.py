"""Mail, by the server that configuration names: a text, and the same as HTML."""

from __future__ import annotations

from email.message import EmailMessage
from email.utils import format_datetime
from html import escape
from typing import Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
from msgspec import Struct

from events.notification import NotificationType
from pandar_daemon.ports import Clock, Delivered, Fate, Item, Notice

TIMEOUT_SEC: Final = 20.0
_PERMANENT: Final = 500
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS: Final = {"smtp": 587, "smtps": 465}


class Smtp(Struct, frozen=True, kw_only=True):
    """A mail server, and who sends."""

    host: str
    port: int
    sender: str
    user: str | None = None
    password: str | None = None
    security: Literal["tls", "starttls", "if_offered"] = "starttls"


def smtp_of(url: str) -> Smtp:
    """Return the server ``smtp://user:password@host:587?from=pandar@example.org`` names.

    ``smtps`` speaks TLS from the start; ``smtp`` begins with STARTTLS, and goes without it only to
    this machine. Raises ``ValueError`` saying what is missing, without the password.
    """
    parts = urlsplit(url)
    sender = parse_qs(parts.query).get("from", [""])[0]
    if parts.scheme not in _PORTS or not parts.hostname or "@" not in sender:
        msg = "expected smtp://user:password@host:port?from=address (or smtps://…)"
        raise ValueError(msg)
    local = parts.hostname in _LOOPBACK
    encrypted: Literal["tls", "starttls"] = "tls" if parts.scheme == "smtps" else "starttls"
    return Smtp(
        host=parts.hostname,
        port=parts.port or _PORTS[parts.scheme],
        sender=sender,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        security="if_offered" if local and encrypted == "starttls" else encrypted,
    )


class MailChannel:
    """Sends mail."""

    def __init__(self, smtp: Smtp | None, clock: Clock) -> None:
        """Send by ``smtp``; without one every message is refused."""
        self._smtp = smtp
        self._clock = clock

    async def send(self, address: str, notice: Notice) -> Delivered:
        """Hand a message over; done when the server has taken it."""
        smtp = self._smtp
        if smtp is None:
            return Delivered(
                fate=Fate.REFUSED, detail="no mail server is configured: set PANDAR_SMTP_URL"
            )
        mail = message(notice, smtp.sender, address)
        mail["Date"] = format_datetime(self._clock.now())
        try:
            await aiosmtplib.send(
                mail,
                hostname=smtp.host,
                port=smtp.port,
                username=smtp.user,
                password=smtp.password,
                use_tls=smtp.security == "tls",
                start_tls={"tls": False, "starttls": True, "if_offered": None}[smtp.security],
                timeout=TIMEOUT_SEC,
            )
        except (aiosmtplib.SMTPException, OSError) as error:
            return _failed(error)
        return Delivered(fate=Fate.SENT, detail="taken by the mail server")


def _failed(error: Exception) -> Delivered:
    """Return what a failure means; servers quote addresses, so only its code is told."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        code = max((one.code for one in error.recipients), default=None)
    else:
        code = getattr(error, "code", None)
    if code is None:
        return Delivered(fate=Fate.LATER, detail=f"no mail server: {type(error).__name__}")
    ours = isinstance(error, aiosmtplib.SMTPAuthenticationError)  # no fault of the address
    fate = Fate.LATER if ours or code < _PERMANENT else Fate.REFUSED
    return Delivered(fate=fate, detail=f"the mail server says {code}")


def message(notice: Notice, sender: str, address: str) -> EmailMessage:
    """Return a message as mail; sent again it has the same Message-ID."""
    domain = sender.rpartition("@")[2].strip(" >")
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = address
    mail["Subject"] = notice.title
    mail["Message-ID"] = f"<{notice.message_id}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    task_id = notice.items[0].task_id
    if task_id is not None and not notice.digest:
        mail["References"] = f"<task-{task_id}@{domain}>"
    mail.set_content("\n\n".join(_text(item) for item in notice.items) + "\n")
    mail.add_alternative(_html(notice), subtype="html")
    return mail


def _asks(item: Item) -> bool:
    return item.kind is NotificationType.CONFIRMATION_REQUIRED


def _text(item: Item) -> str:
    lines = [item.title, item.content]
    if item.url:
        lines.append(f"{'Look and decide' if _asks(item) else 'Open'}: {item.url}")
    return "\n".join(line for line in lines if line)


_PAGE: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="font-family:sans-serif;max-width:40rem;margin:1rem auto;padding:0 1rem">
{items}
</body></html>
"""
_ITEM: Final = """\
<h1 style="font-size:1.2rem">{title}</h1>
<p style="white-space:pre-wrap;overflow-wrap:anywhere">{content}</p>
{link}"""
_LINK: Final = """\
<p><a href="{url}" style="display:inline-block;padding:.7rem 1.2rem;border-radius:.4rem;\
background:#0b57d0;color:#fff;text-decoration:none">{label}</a></p>
"""


def _html(notice: Notice) -> str:
    items = "\n".join(_html_of(item) for item in notice.items)
    return _PAGE.format(title=escape(notice.title), items=items)


def _html_of(item: Item) -> str:
    label = "Look and decide" if _asks(item) else "Open"
    link = _LINK.format(url=escape(item.url), label=label) if item.url else ""
    return _ITEM.format(title=escape(item.title), content=escape(item.content), link=link)
