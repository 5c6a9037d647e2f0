"""A hostile program: an attempt returns whether it succeeded, an errand whether it could be done.

It runs in the box on the standard library alone: ``inside.py ARENA NAME``, where ARENA is a JSON
file that says what there is to be had outside. It prints ``{"done": true|false, "how": …}``.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ATTEMPTS: dict[str, Callable[[dict[str, Any]], object]] = {}
ERRANDS: dict[str, Callable[[dict[str, Any]], object]] = {}
_LIBC = ctypes.CDLL(None, use_errno=True)

Arena = dict[str, Any]
Act = Callable[[Arena], object]


def attempt(act: Act) -> Act:
    """Register something that must not succeed: it returns what it got, or nothing."""
    ATTEMPTS[act.__name__] = act
    return act


def errand(act: Act) -> Act:
    """Register something that must succeed."""
    ERRANDS[act.__name__] = act
    return act


def main() -> None:
    """Do one thing, and say what came of it."""
    arena, name = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
    try:
        got = (ATTEMPTS | ERRANDS)[name](arena)
    except OSError as error:
        print(json.dumps({"done": False, "how": repr(error)}))
    else:
        print(json.dumps({"done": bool(got), "how": repr(got)[:200]}))


# --- reading ---------------------------------------------------------------------------------


@attempt
def read_a_file_of_the_owner(arena: Arena) -> object:
    """The home of whoever runs the runner."""
    return Path(arena["owner_secret"]).read_text()


@attempt
def read_the_real_home(_arena: Arena) -> object:
    """Whatever lies in the homes there usually are."""
    homes = [Path("/root"), *Path("/home").glob("*")]
    return [
        str(found)
        for home in homes
        for name in (".ssh", ".aws", ".bashrc", ".profile", ".netrc", ".config", ".gitconfig")
        if (found := home / name).exists()
    ]


@attempt
def read_shadow(_arena: Arena) -> object:
    """The passwords of the machine."""
    return Path("/etc/shadow").read_text()


@attempt
def read_another_task(arena: Arena) -> object:
    """The folder of somebody else's task."""
    return Path(arena["other_task"], "work.txt").read_text()


@attempt
def list_the_tasks(arena: Arena) -> object:
    """Which other tasks there are."""
    here = Path(arena["workspace"])
    return [name for name in os.listdir(here.parent) if name != here.name]


@attempt
def read_the_daemons_secret(arena: Arena) -> object:
    """The key the daemon signs tokens with."""
    return Path(arena["daemon_secret"]).read_text()


@attempt
def read_through_proc_root(arena: Arena) -> object:
    """By the roots that processes have."""
    for pid in (*filter(str.isdigit, os.listdir("/proc")), "self"):
        path = Path(f"/proc/{pid}/root{arena['owner_secret']}")
        try:
            return path.read_text()
        except OSError:
            continue
    return None


@attempt
def read_through_an_open_descriptor(arena: Arena) -> object:
    """By a folder that somebody left open for us."""
    for number in range(3, 256):
        try:
            inner = os.open(arena["owner_secret"].lstrip("/"), os.O_RDONLY, dir_fd=number)
        except OSError:
            continue
        return os.read(inner, 100)
    return None


@attempt
def read_the_initial_environment(_arena: Arena) -> object:
    """Variables of the runner, in anybody's environment in here."""
    found = []
    for pid in (*filter(str.isdigit, os.listdir("/proc")), "self"):
        try:
            found.append(Path(f"/proc/{pid}/environ").read_text())
        except OSError:
            continue
    return "made-up-secret" in "".join(found)


@attempt
def read_the_environment(_arena: Arena) -> object:
    """Variables of the runner, in our own environment."""
    return "made-up-secret" in repr(os.environ) or [
        name for name in os.environ if "KEY" in name or "TOKEN" in name or "SECRET" in name
    ]


@attempt
def read_a_disk(_arena: Arena) -> object:
    """The disk itself, or memory."""
    for path in ("/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/mem", "/dev/kmsg", "/proc/kcore"):
        try:
            with open(path, "rb") as disk:
                return disk.read(16)
        except OSError:
            continue
    return None


@attempt
def read_by_a_handle(arena: Arena) -> object:
    """A file by its number on the disk, without its path."""
    handle = ctypes.create_string_buffer(128)
    ctypes.memmove(handle, (ctypes.c_uint * 2)(120, 0), 8)
    mount = ctypes.c_int()
    path = arena["workspace"].encode()
    if _LIBC.name_to_handle_at(-100, path, handle, ctypes.byref(mount), 0) != 0:
        return None
    folder = os.open("/", os.O_RDONLY)
    return _LIBC.open_by_handle_at(folder, handle, os.O_RDONLY) >= 0


# --- writing ---------------------------------------------------------------------------------


def _write(path: str | Path) -> bool:
    Path(path).write_text("was here")
    return True


def _write_outside(arena: Arena, path: str | Path) -> bool:
    """Write where the box may have a folder of its own by that name, in memory."""
    return _write(path) and os.stat(path).st_dev == os.stat(arena["workspace"]).st_dev


@attempt
def write_to_the_owners_home(arena: Arena) -> object:
    """A file beside the owner's."""
    return _write(Path(arena["owner_secret"]).with_name("planted"))


@attempt
def write_to_etc(_arena: Arena) -> object:
    """The settings of the machine."""
    return _write("/etc/pandar-was-here")


@attempt
def write_to_usr(_arena: Arena) -> object:
    """The programs of the machine."""
    return _write("/usr/local/bin/pandar-was-here")


@attempt
def write_to_the_data_folder(arena: Arena) -> object:
    """Beside the task's own folder."""
    return _write_outside(arena, Path(arena["workspace"]).parent / "planted")


@attempt
def write_to_the_root(_arena: Arena) -> object:
    """The root of all."""
    return _write("/planted")


@attempt
def write_through_a_link(arena: Arena) -> object:
    """By a link that leads out."""
    link = Path(arena["workspace"], "way-out")
    link.symlink_to(Path(arena["owner_secret"]).parent)
    return _write(link / "planted")


@attempt
def write_with_dots(arena: Arena) -> object:
    """By the parents of the task's folder."""
    return _write_outside(arena, Path(arena["workspace"], "..", "..", "planted"))


@attempt
def plant_a_git_hook(arena: Arena) -> object:
    """A program that the owner's git would run."""
    return _write(Path(arena["repository"], ".git", "hooks", "pre-commit"))


@attempt
def change_the_git_config(arena: Arena) -> object:
    """A setting by which the owner's git would run a program."""
    config = Path(arena["repository"], ".git", "config")
    config.write_text(config.read_text() + "[core]\n\tfsmonitor = touch /tmp/planted\n")
    return True


@attempt
def change_the_git_config_by_git(arena: Arena) -> object:
    """The same, by git itself."""
    return _git(arena, "config", "core.sshCommand", "touch /tmp/planted").returncode == 0


@attempt
def swap_the_git_folder(arena: Arena) -> object:
    """The whole of it replaced by one with a hook."""
    folder = Path(arena["repository"], ".git")
    folder.rename(folder.with_name(".git-old"))
    shutil.copytree(folder.with_name(".git-old"), folder)
    return _write(folder / "hooks" / "pre-commit")


@attempt
def remove_the_git_folder(arena: Arena) -> object:
    """The config put anew after everything was removed."""
    folder = Path(arena["repository"], ".git")
    shutil.rmtree(folder, ignore_errors=True)
    return _write(folder / "config")


@attempt
def change_a_shared_pack(arena: Arena) -> object:
    """Objects that lie in other tasks' repositories, too."""
    pack = next(Path(arena["repository"], ".git", "objects", "pack").glob("*.pack"))
    pack.chmod(0o644)
    with pack.open("r+b") as file:
        file.write(b"XXXX")
    return True


@attempt
def change_a_shared_pack_by_another_name(arena: Arena) -> object:
    """The same, by another name of the same file."""
    pack = next(Path(arena["repository"], ".git", "objects", "pack").glob("*.pack"))
    other = Path(arena["workspace"], "other-name")
    os.link(pack, other)
    other.chmod(0o644)
    return _write(other)


# --- the network -----------------------------------------------------------------------------


@attempt
def reach_loopback(arena: Arena) -> object:
    """A server on this machine."""
    return socket.create_connection(("127.0.0.1", arena["tcp_port"]), 2)


@attempt
def reach_loopback_by_ipv6(arena: Arena) -> object:
    """The same, by IPv6."""
    return socket.create_connection(("::1", arena["tcp_port"]), 2)


@attempt
def reach_metadata(_arena: Arena) -> object:
    """The server that hands credentials to machines of a cloud."""
    return socket.create_connection(("169.254.169.254", 80), 2)


@attempt
def reach_an_address(_arena: Arena) -> object:
    """Any other machine."""
    return socket.create_connection(("192.0.2.1", 80), 2)


@attempt
def send_a_datagram(_arena: Arena) -> object:
    """To anybody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        return end.sendto(b"x", ("192.0.2.1", 53))


@attempt
def resolve_a_name(_arena: Arena) -> object:
    """Names carry secrets out, too."""
    return socket.getaddrinfo("secret.example.com", 80)


@attempt
def reach_a_unix_socket(arena: Arena) -> object:
    """As that of Docker is."""
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(arena["unix_socket"])
        return True


@attempt
def reach_a_docker_socket(_arena: Arena) -> object:
    """Where it usually is."""
    return [
        p for p in ("/var/run/docker.sock", "/run/docker.sock", "/run/dbus") if Path(p).exists()
    ]


@attempt
def reach_an_abstract_socket(arena: Arena) -> object:
    """One without a file."""
    with socket.socket(socket.AF_UNIX) as end:
        end.connect("\0" + arena["abstract_socket"])
        return True


@attempt
def reach_the_host_of_a_virtual_machine(_arena: Arena) -> object:
    """By a family that no network namespace covers."""
    return socket.socket(40, socket.SOCK_STREAM)


@attempt
def open_a_raw_socket(_arena: Arena) -> object:
    """To see what others send."""
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW)


# --- processes -------------------------------------------------------------------------------


@attempt
def see_the_runner(arena: Arena) -> object:
    """Among all the processes there are."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if arena["marker"].encode() in line:
            return pid
    return None


@attempt
def signal_the_runner(arena: Arena) -> object:
    """By its number outside."""
    os.kill(arena["runner_pid"], 0)
    return True


@attempt
def kill_the_first_process(_arena: Arena) -> object:
    """The one that ends the box."""
    os.kill(1, signal.SIGKILL)
    time.sleep(0.2)
    return not Path("/proc/1").exists()


@attempt
def look_into_the_first_process(_arena: Arena) -> object:
    """To keep it from ending."""
    return _LIBC.ptrace(16, 1, 0, 0) == 0 or os.readlink("/proc/1/exe")


@attempt
def make_a_user_namespace(_arena: Arena) -> object:
    """To be root in there."""
    return _LIBC.unshare(0x10000000) == 0


@attempt
def clone_into_a_namespace(_arena: Arena) -> object:
    """The same, by the tool."""
    return (
        subprocess.run(["unshare", "-Ur", "true"], capture_output=True, check=False).returncode == 0
    )


@attempt
def mount_something(_arena: Arena) -> object:
    """Over what is there."""
    return _LIBC.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0


@attempt
def remount_the_system(_arena: Arena) -> object:
    """To write where one may only read."""
    return _LIBC.mount(None, b"/usr", None, 0x1000 | 0x20, None) == 0


@attempt
def become_root(_arena: Arena) -> object:
    """By a program that runs as root for everybody."""
    for tool in (["su", "-c", "true"], ["sudo", "-n", "true"], ["passwd", "-d", "root"]):
        try:
            if subprocess.run(tool, capture_output=True, stdin=-3, check=False).returncode == 0:
                return tool
        except FileNotFoundError:
            continue
    os.setuid(0)
    return True


@attempt
def have_capabilities(_arena: Arena) -> object:
    """Any at all."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("CapEff:\t")[2].split()[0], 16)


@attempt
def use_io_uring(_arena: Arena) -> object:
    """Whose calls no filter sees."""
    return _LIBC.syscall(425, 8, ctypes.create_string_buffer(120)) >= 0


@attempt
def use_kernel_keys(_arena: Arena) -> object:
    """Which are not in any namespace."""
    return _LIBC.syscall(250, 0, -3, 1) >= 0


@attempt
def load_a_kernel_program(_arena: Arena) -> object:
    """BPF."""
    return _LIBC.syscall(321, 0, ctypes.create_string_buffer(64), 64) >= 0


@attempt
def type_into_the_terminal(_arena: Arena) -> object:
    """As if whoever watches had typed it."""
    number = os.open("/dev/tty", os.O_RDWR)
    fcntl.ioctl(number, getattr(termios, "TIOCSTI", 0x5412), b"x")
    return True


@attempt
def change_the_host_name(_arena: Arena) -> object:
    """Of the machine."""
    socket.sethostname("planted")
    return True


# --- errands ---------------------------------------------------------------------------------


@errand
def write_to_its_folder(arena: Arena) -> object:
    """Files, folders, links, in its own."""
    folder = Path(arena["workspace"], "a", "b")
    folder.mkdir(parents=True)
    _write(folder / "file")
    (folder / "link").symlink_to("file")
    return (folder / "link").read_text() == "was here"


@errand
def write_to_its_home(_arena: Arena) -> object:
    """Where HOME says."""
    return _write(Path.home() / ".settings")


@errand
def write_to_temporary_folders(_arena: Arena) -> object:
    """As every build does."""
    return all(_write(f"{at}/file") for at in ("/tmp", "/var/tmp", "/dev/shm"))


@errand
def start_a_server_and_call_it(_arena: Arena) -> object:
    """As tests do, on its own loopback."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), 2) as client,
    ):
        end, _ = server.accept()
        end.sendall(b"hello")
        return client.recv(5) == b"hello"


@errand
def use_unix_sockets(arena: Arena) -> object:
    """As X, ssh-agent and test runners do."""
    path = str(Path(arena["workspace"], "own.sock"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            return True


@errand
def run_programs(_arena: Arena) -> object:
    """Those of the system, in pipes."""
    shown = subprocess.run(
        ["sh", "-c", "printf 'b\\na\\n' | sort | head -n 1"], capture_output=True, check=True
    ).stdout
    return shown == b"a\n"


@errand
def compile_and_run(arena: Arena) -> object:
    """Where there is a compiler."""
    if shutil.which("cc") is None:
        return True
    source, program = Path(arena["workspace"], "x.c"), str(Path(arena["workspace"], "x"))
    source.write_text("int main(void) { return 7; }")
    subprocess.run(["cc", "-o", program, str(source)], check=True)
    return subprocess.run([program], check=False).returncode == 7


@errand
def run_node(arena: Arena) -> object:
    """Where there is one."""
    if shutil.which("node") is None:
        return True
    script = "require('fs').writeFileSync('n', 'x'); console.log(1 + 1)"
    shown = subprocess.run(
        ["node", "-e", script], capture_output=True, cwd=arena["workspace"], check=True
    ).stdout
    return shown == b"2\n"


@errand
def commit_with_git(arena: Arena) -> object:
    """On a branch of its own."""
    Path(arena["repository"], "new.txt").write_text("new")
    done = [
        _git(arena, *words).returncode
        for words in (["checkout", "-q", "-b", "mine"], ["add", "-A"], ["commit", "-q", "-m", "x"])
    ]
    return done == [0, 0, 0] and b"new.txt" in _git(arena, "show", "--stat").stdout


@errand
def pack_with_git(arena: Arena) -> object:
    """As git does from time to time: what is shared stays."""
    return _git(arena, "log", "--oneline").returncode == 0


@errand
def know_who_it_is(_arena: Arena) -> object:
    """A user with a name and a home."""
    import pwd  # noqa: PLC0415 - only this needs it

    return pwd.getpwuid(os.getuid()).pw_name == "agent" and os.getuid() != 0


@errand
def share_memory(_arena: Arena) -> object:
    """As multiprocessing does."""
    import multiprocessing  # noqa: PLC0415 - only this needs it

    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, -2]) == [1, 2]


@errand
def wait_for_children(_arena: Arena) -> object:
    """Those of others, too: who loses its parent is reaped."""
    told = subprocess.run(["sh", "-c", "(true & echo $!)"], check=True, capture_output=True)
    orphan, deadline = told.stdout.decode().strip(), time.monotonic() + 10
    while time.monotonic() < deadline:
        if not _state(orphan):
            return True
    return False


def _state(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _git(arena: Arena, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "safe.directory=*", *words],
        cwd=arena["repository"],
        capture_output=True,
        check=False,
    )


if __name__ == "__main__":
    main()
