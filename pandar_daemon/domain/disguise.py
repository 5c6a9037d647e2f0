"""Texts that look like other texts: characters nobody sees, and letters that only look the same.

A shell compares bytes; people and some file systems do not. So a text is also judged as it looks.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_WRITING: Final = re.compile("(?<=[^\x00-\x7f])[\u200c\u200d\ufe0e\ufe0f]+")
"""What joins letters of other scripts and emoji, behind one of them."""
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_SAME: Final = str.maketrans(
    "аеорсухіјѕԁһӏԛԝвкмнтгАВЕКМНОРСТУХІЈЅαβεικνορτυχωΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɑɡʟɩɪհոսցօʋᴀᴄᴅᴇᴋᴍᴏᴛᴜᴠᴡᴢꜱ"
    "‐‑‒–—―−⁃﹘∕⁄╱⧸❘∣ǀ；∼˜‚’‘ʼ′",  # noqa: RUF001
    "aeopcyxijsdhlqwbkmhtrABEKMHOPCTYXIJSabeiknoptuxwABEZHIKMNOPTYXiaglilhnugovacdekmotuvwzs"
    "---------////|||;~~,''''",
)
_LINE_END: Final = re.compile("[\x85\u2028\u2029]")
_BLANK: Final = re.compile(r"[^\S\n]")


def hides(text: str) -> bool:
    """Tell whether a text holds what nobody sees, beside what scripts and emoji need."""
    if text.isascii():
        return bool(_CONTROL.search(text))
    seen = _WRITING.sub("", text.removeprefix("\ufeff"))
    return bool(_UNSEEN.search(seen) or _CONTROL.search(seen))


def as_seen(text: str) -> str:
    """Return a text as it looks, in the plainest letters there are for it."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", _UNSEEN.sub("", text)).translate(_SAME)
        text = "".join(letter for letter in text if not unicodedata.combining(letter))
        text = _BLANK.sub(" ", _LINE_END.sub("\n", text))
    return _CONTROL.sub("", text)
