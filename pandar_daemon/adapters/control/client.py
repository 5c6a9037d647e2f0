"""What a shim runs in a box when its tool is asked for: orders it at the control door.

Run as a program of its own, by the plainest Python there is: it imports nothing of ours, and
nothing that takes time. Arguments: the socket, the real program, the tool, then its arguments.
"""

import json
import os
import socket
import sys
from binascii import a2b_base64

HEAD = 4
PLACE = "{file}"
SHIMS = "/run/pandar/bin"
REAL = "/run/pandar/real"


def main(arguments: list[str]) -> int:
    """Return the exit code of what was ordered; does not return when it is to be run here."""
    control, real, tool, *argv = arguments
    try:
        door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        door.connect(control)
        _order(door, {"tool": tool, "argv": argv, "cwd": _folder()})
        return _answer(door, real, tool)
    except (OSError, ValueError) as error:
        return _fail(
            f"{tool}: Pandar, which does this outside the sandbox, cannot be asked: {error}"
        )


def _folder() -> str:
    """Return where we are, as the shell has it."""
    try:
        return os.getcwd()  # noqa: PTH109 - no Path: it takes time
    except OSError:
        return "/"


def _order(door: socket.socket, order: dict[str, object]) -> None:
    body = json.dumps(order).encode("utf-8", "surrogatepass")
    door.sendall(len(body).to_bytes(HEAD, "big") + body)


def _answer(door: socket.socket, real: str, tool: str) -> int:
    """Show what comes of it until it is over."""
    source = door.makefile("rb")
    file = ""
    while True:
        head = source.read(HEAD)
        if len(head) < HEAD:
            return _fail(f"{tool}: Pandar hung up: the task ends, or it was asked too much")
        piece = json.loads(source.read(int.from_bytes(head, "big")))
        if "run" in piece:
            door.close()
            _run(real, [_named(word, file) for word in piece["run"]], piece.get("env", {}))
        if "exit" in piece:
            return int(piece["exit"])
        _show(1, piece.get("out", ""))
        _show(2, piece.get("err", ""))
        if "file" in piece:
            file = file or _file()
            with open(file, "ab") as kept:  # noqa: PTH123 - as above
                kept.write(a2b_base64(piece["file"]))


def _show(descriptor: int, text: str) -> None:
    data = a2b_base64(text)
    while data:
        data = data[os.write(descriptor, data) :]


def _named(word: str, file: str) -> str:
    return file if word == PLACE else word


def _file() -> str:
    folder = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - the box's own
    return f"{folder}/pandar-{os.getpid()}-{os.urandom(8).hex()}"


def _run(real: str, argv: list[str], environment: dict[str, str]) -> None:
    """Become the real program, or what is to be run instead."""
    program = real or argv.pop(0)
    if not real:  # what was consented to is not ordered once more
        places = os.environ.get("PATH", "").split(":")
        os.environ["PATH"] = ":".join([REAL, *(place for place in places if place != SHIMS)])
    os.environ.update(environment)
    os.execvp(program, [program, *argv])  # noqa: S606 - in the box


def _fail(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 126


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
