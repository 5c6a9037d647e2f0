"""Why a box could not be made, in words that say what to do."""

from __future__ import annotations

from typing import Final

ACCEPT: Final = 'or accept the risk with level = "none" under [sandbox] in pandar.toml'
_OFF: Final = (
    "user namespaces are off here (see the sysctl kernel.unprivileged_userns_clone or"
    " kernel.apparmor_restrict_unprivileged_userns, or the seccomp profile of your container)"
)
_KNOWN: Final = (
    ("setting up uid map", "root may not set up user namespaces here (it lacks CAP_SETFCAP)"),
    ("namespaces exceeded", "the sysctl user.max_user_namespaces is too small"),
    ("No permissions to creat", _OFF),
    ("Creating new namespace failed", _OFF),
    ("Can't mount proc", "this container masks /proc: it needs an unmasked one"),
    ("No space left on device", "the sysctl user.max_user_namespaces is too small"),
    ("Unknown option", "this bubblewrap is too old: 0.8 is the first that will do"),
    ("prctl(PR_SET_SECCOMP)", "this kernel does not let programs filter their system calls"),
)


def explain(error: str, shown: bytes) -> str:
    """Return why a box could not be made, by what its maker showed before it ended."""
    text = " ".join(shown.decode(errors="replace").split())[-400:]
    known = next((why for sign, why in _KNOWN if sign in text), "")
    return "; ".join(part for part in (known or error, text, ACCEPT) if part)
