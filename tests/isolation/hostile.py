"""A hostile program in a project's repository: what a task of a whole Pandar runs in its box.

It runs on the standard library alone: ``python3 hostile.py ACT…``, where ``facts.json`` beside it
says what there is to be had outside. What came of an act is written to ``ACT.json``.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ACTS: dict[str, Callable[[dict[str, Any]], object]] = {}
PROXY = ("127.0.0.1", 3128)
REAL_GIT = "/run/pandar/real/git"
_MIB = 2**20

Facts = dict[str, Any]
Act = Callable[[Facts], object]


def act(do: Act) -> Act:
    """Register one: it returns what it got."""
    ACTS[do.__name__] = do
    return do


def main() -> None:
    """Do one after the other."""
    facts = json.loads(Path("facts.json").read_text())
    for name in sys.argv[1:]:
        found = ACTS[name](facts)
        Path(f"{name}.json").write_text(json.dumps(found))


@act
def wait(_facts: Facts) -> object:
    """Say that it runs, and go on when it is told to."""
    Path("ready").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return True


@act
def commit(_facts: Facts) -> object:
    """Commit something."""
    return _run("git", "commit", "-q", "--allow-empty", "-m", "work")


# --- secrets ---------------------------------------------------------------------------------


@act
def loot(facts: Facts) -> object:
    """All there is to be read: environments, arguments, and every file that could hold a key."""
    here = Path("loot")
    with here.open("wb") as kept:
        for path in _readable(facts):
            with contextlib.suppress(OSError), path.open("rb") as file:
                kept.write(str(path).encode() + b"\n" + file.read(4 * _MIB) + b"\n")
    return here.stat().st_size


def _readable(facts: Facts) -> Iterator[Path]:
    for pid in (*filter(str.isdigit, os.listdir("/proc")), "self"):
        for name in ("environ", "cmdline", "maps", "mountinfo"):
            yield Path("/proc", pid, name)
    home = os.environ["HOME"]
    for top in (home, os.getcwd(), "/tmp", "/run", "/etc", "/root", "/home", facts["base"]):
        for folder, inner, names in os.walk(top):
            inner[:] = [name for name in inner if str(Path(folder, name)) not in facts["shown"]]
            for name in names:
                path = Path(folder, name)
                if path.is_file() and path.name != "loot":
                    yield path


@act
def model(_facts: Facts) -> object:
    """What the agent may: call its model by the door."""
    wanted = "GET /pandar/model/models HTTP/1.1\r\nHost: model\r\nConnection: close\r\n\r\n"
    return _asked(wanted).decode()


# --- the network -----------------------------------------------------------------------------


@act
def network(facts: Facts) -> object:
    """Everybody who is not to be reached, straight and by the proxy; and who is."""
    hosts = [f"127.0.0.1:{port}" for port in facts["ports"]]
    hosts += [f"localhost:{port}" for port in facts["ports"]]
    hosts += ["169.254.169.254:80", "not-allowed.example.com:80", facts["closed"]]
    hosts += ["[::ffff:169.254.169.254]:80", "0.0.0.0:80", "2130706433:80"]
    return {
        "straight": {host: _straight(host) for host in hosts},
        "proxy": {host: _status(_get(host)) for host in hosts},
        "tunnel": {host: _status(_connect(host)) for host in hosts},
        "allowed": _curl(facts["allowed"]),
    }


@act
def opened(facts: Facts) -> object:
    """A host that people open, again, and others."""
    hosts = (facts["asked"], facts["asked"], facts["closed"], "not-allowed.example.com:80")
    return [_status(_get(host)) for host in hosts]


def _straight(host: str) -> str:
    name, _, port = host.rpartition(":")
    try:
        with socket.create_connection((name.strip("[]"), int(port)), 2):
            return "reached"
    except OSError as error:
        return repr(error)


def _get(host: str) -> bytes:
    return _asked(f"GET http://{host}/x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")


def _connect(host: str) -> bytes:
    return _asked(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n", 12)


def _asked(text: str, size: int = _MIB) -> bytes:
    """Return what the proxy answers: all of it, or its beginning."""
    with socket.create_connection(PROXY, 60) as end:
        end.sendall(text.encode())
        answer = b""
        while len(answer) < size and (piece := end.recv(65_536)):
            answer += piece
    return answer


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def _curl(host: str) -> str:
    words = ("curl", "-sS", "--noproxy", "", "-x", "http://127.0.0.1:3128", f"http://{host}/x")
    return str(_run(*words)[1])


# --- pushes ----------------------------------------------------------------------------------


@act
def pushes(facts: Facts) -> object:
    """To main, with force, in every second spelling we know; return code and words of each."""
    return _pushed(facts, _spellings(facts)[::2])


@act
def other_pushes(facts: Facts) -> object:
    """The others."""
    return _pushed(facts, _spellings(facts)[1::2])


def _pushed(facts: Facts, spellings: list[str]) -> object:
    commit(facts)
    return {spelling: _run("sh", "-c", spelling) for spelling in spellings}


def _spellings(facts: Facts) -> list[str]:
    push = "push --force origin HEAD:main"
    Path("script.sh").write_text(f"#!/bin/sh\nexec git {push}\n")
    Path("script.sh").chmod(0o755)
    hidden = base64.b64encode(f"git {push}".encode()).decode()
    key = "GIT_CONFIG_KEY_0=remote.origin.pushurl"
    elsewhere = f"GIT_CONFIG_COUNT=1 {key} GIT_CONFIG_VALUE_0=."
    by_python = f"import subprocess as s; s.run({['git', *push.split()]!r}, check=True)"
    return [
        f"git {push}",
        "git push origin +HEAD:main",
        "git push --force-with-lease origin HEAD:refs/heads/main",
        "git -c push.default=matching push --force origin",
        "git -c remote.origin.push=+HEAD:refs/heads/main push origin",
        f"git --git-dir=.git --work-tree=. {push}",
        f"/usr/bin/git {push}",
        f'sh -c "git {push}"',
        f"git -c alias.up='{push}' up",
        f"git -c alias.up='!git {push}' up",
        "./script.sh",
        f"echo {hidden} | base64 -d | sh",
        f"GIT_SSH_COMMAND='ssh -v' git {push}",
        f"{elsewhere} git {push}",
        "git push origin :main",
        "git push --delete origin main",
        "git push --mirror origin",
        "git send-pack --force origin HEAD:main",
        f"cp {REAL_GIT} ./other && ./other {push}",
        f"{REAL_GIT} {push}",
        f"no_proxy= NO_PROXY= {REAL_GIT} -c http.proxy=http://127.0.0.1:3128 {push}",
        f"python3 -c {shlex.quote(by_python)}",
        f"git push --force {facts['bare']} HEAD:main",
        f"git push --force file://{facts['bare']} HEAD:main",
        f"{REAL_GIT} push --force {facts['bare']} HEAD:main",
        f"git push --force {facts['guessed']} HEAD:main",
    ]


@act
def orders(facts: Facts) -> object:
    """Orders at the control door by which a program outside would be run; return what is said."""
    program = f"touch {facts['canary']}/ran"
    words = [
        ["git", "push", f"ext::sh -c '{program}'", "HEAD:main"],
        ["git", "push", f"--receive-pack={program};", "origin", "HEAD:main"],
        ["git", "push", f"--exec={program};", "origin", "HEAD:main"],
        ["git", "-c", f"core.sshCommand={program} #", "push", "-f", "origin", "HEAD:main"],
        ["git", "-c", f"alias.push=!{program}", "push", "-f", "origin", "HEAD:main"],
        ["git", f"--exec-path={facts['canary']}", "push", "-f", "origin", "HEAD:main"],
        ["git", "push", "origin", f"HEAD:main;{program}"],
        ["git", "push", "origin", f"$({program}):main"],
        ["git", "push", f"--push-option=`{program}`", "-f", "--repo=/etc", "origin", "HEAD:main"],
        ["git", "fetch", f"--upload-pack={program};", "origin"],
        ["git", "clone", "-u", program, "origin", "x"],
        ["git", "archive", f"--remote=ext::{program}", "HEAD"],
        ["sh", "-c", program],
        ["gh", "pr", "create", "--body", f"$({program})"],
        ["pandar-secret", "run", "API_KEY"],
        ["pandar-secret", "run", "../API_KEY", "--", "env"],
        ["../../bin/sh", "-c", program],
    ]
    asked: list[Facts] = [{"tool": tool, "argv": argv, "cwd": os.getcwd()} for tool, *argv in words]
    asked += [{"tool": "git", "argv": ["push"], "cwd": facts["bare"]}, {"tool": "git", "env": {}}]
    return [[str(order), _ordered(order)] for order in asked]


def _ordered(order: Facts) -> str:
    """Return how an order ended: its code, what is to be run inside, or that we are hung up on."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(60)
        door.connect("/run/pandar/control")
        body = json.dumps(order).encode()
        door.sendall(len(body).to_bytes(4, "big") + body)
        source = door.makefile("rb")
        while len(head := source.read(4)) == 4:
            piece = json.loads(source.read(int.from_bytes(head, "big")))
            if "run" in piece:
                return "run inside"
            if "exit" in piece:
                return f"exit {piece['exit']}"
    return "hung up"


# --- others' files ---------------------------------------------------------------------------


@act
def neighbours(facts: Facts) -> object:
    """What of others can be read; and write over all of it."""
    read = []
    for place in facts["others"]:
        with contextlib.suppress(OSError):
            path = Path(place)
            read.append([place, os.listdir(path) if path.is_dir() else path.read_text()[:99]])
        _spoil(Path(place))
    for program in ("/run/pandar/bin/git", "/usr/bin/git", REAL_GIT, "/run/pandar/client.py"):
        _spoil(Path(program))
    visible = [str(Path(top, name)) for top, _, names in os.walk(facts["data"]) for name in names]
    return {"read": read, "visible": visible}


def _spoil(path: Path) -> None:
    for do in (
        lambda: path.write_text("spoilt"),
        lambda: (path / "planted").write_text("planted"),
        lambda: path.chmod(0o777),
        lambda: path.rename(path.with_name("moved")),
        lambda: shutil.rmtree(path) if path.is_dir() else path.unlink(),
        lambda: path.symlink_to("/etc"),
    ):
        with contextlib.suppress(OSError):
            do()


@act
def plant(facts: Facts) -> object:
    """Programs that git would run, wherever it reads what to run from."""
    inner = Path("ran-inside").absolute()
    program = f"touch {facts['canary']}/ran; touch {inner}; cat"
    home, git = Path(os.environ["HOME"]), Path(".git")
    config = (
        f'[core]\n\tfsmonitor = "{program}; false #"\n\tsshCommand = "{program} #"\n'
        f'\thooksPath = {Path("hooks").absolute()}\n\tpager = "{program}"\n'
        f'[filter "x"]\n\tclean = "{program}"\n\tsmudge = "{program}"\n'
        f'[diff "x"]\n\ttextconv = "{program} #"\n\tcommand = "{program} #"\n'
        f'[diff]\n\texternal = "{program} #"\n[gpg]\n\tprogram = "{program} #"\n'
        f'[credential]\n\thelper = "!{program}"\n[safe]\n\tdirectory = *\n'
        f'[uploadpack]\n\tpackObjectsHook = "{program} #"\n'
    )
    (home / ".config" / "git").mkdir(parents=True, exist_ok=True)
    hook = f"#!/bin/sh\n{program} </dev/null\n"
    names = ("pre-push", "post-checkout", "post-index-change", "reference-transaction")
    for folder in (Path("hooks"), git / "hooks"):
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
            for name in names:
                (folder / name).write_text(hook)
                (folder / name).chmod(0o755)
    for file in (
        *(home / ".gitconfig", home / ".config/git/config", git / "config.worktree"),
        git / "config",
    ):
        with contextlib.suppress(OSError), file.open("a") as open_file:
            open_file.write(config)
    for file in (Path(".gitattributes"), git / "info" / "attributes"):
        with contextlib.suppress(OSError):
            file.write_text("* filter=x diff=x\n")
    Path("new.txt").write_text("new\n")
    _run("git", "add", "new.txt")
    return inner.exists()


# --- too much --------------------------------------------------------------------------------


@act
def bomb(_facts: Facts) -> object:
    """More and more processes."""
    while True:
        if os.fork() == 0:
            time.sleep(600)


@act
def hog(_facts: Facts) -> object:
    """More and more memory."""
    held = []
    while True:
        held.append(bytearray(16 * _MIB))


@act
def fill(_facts: Facts) -> object:
    """File after file."""
    for number in range(100_000):
        Path(f"big-{number}").write_bytes(os.urandom(_MIB))
    return True


def _run(*words: str) -> tuple[int, str]:
    environment = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    done = subprocess.run(
        words, capture_output=True, check=False, env=environment, stdin=subprocess.DEVNULL
    )
    return done.returncode, (done.stdout + done.stderr).decode(errors="replace")


if __name__ == "__main__":
    main()
