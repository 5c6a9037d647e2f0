"""How boxes are made: what is mounted, which rules and groups there are, why one cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from events.confinement import Level, Limits
from pandar_daemon.adapters.sandbox import faults, landlock
from pandar_daemon.adapters.sandbox.boxes import Boxes
from pandar_daemon.adapters.sandbox.cgroups import Cgroups
from pandar_daemon.adapters.sandbox.fencing import rules_of
from pandar_daemon.adapters.sandbox.layout import Insecure, Own, arguments
from pandar_daemon.ports import Box

TAGS = {"TAG": "1"}


@pytest.fixture
def place(tmp_path: Path) -> SimpleNamespace:
    """Return a workspace with a repository, a home, and our own files."""
    folder = tmp_path.resolve()
    for name in ("work/.git/hooks", "home", "etc", "lib", "elsewhere"):
        (folder / name).mkdir(parents=True)
    (folder / "work/.git/config").write_text("")
    (folder / "etc/passwd").write_text("")
    (folder / "init.pyc").write_text("")
    return SimpleNamespace(
        folder=folder,
        work=str(folder / "work"),
        home=str(folder / "home"),
        own=Own(
            etc=str(folder / "etc"),
            program=str(folder / "init.pyc"),
            readable=(str(folder / "lib"),),
        ),
    )


def mounts(words: list[str], *kinds: str) -> list[tuple[str, str, str]]:
    """Return the mounts of these kinds, in order."""
    return [
        (word, words[nth + 1], words[nth + 2]) for nth, word in enumerate(words) if word in kinds
    ]


# --- layout ---


def test_nothing_of_the_machines_root(place: SimpleNamespace) -> None:
    """Neither the root is mounted, nor homes, nor what else of the machine there is."""
    words = arguments(Box(writable=(place.work, place.home)), place.own, TAGS)
    sources = {source for _, source, _ in mounts(words, "--ro-bind", "--ro-bind-try", "--bind")}
    assert not sources & {"/", "/etc", "/home", "/root", "/run", "/var", "/sys", "/dev", "/proc"}
    assert not any(source in {"/etc/passwd", "/etc/shadow", "/etc/hosts"} for source in sources)


def test_the_environment_is_cleared_first(place: SimpleNamespace) -> None:
    """But for the tags by which the tree is found."""
    words = arguments(Box(writable=(place.work,)), place.own, TAGS)
    at = words.index("--clearenv")
    assert words[at : at + 4] == ["--clearenv", "--setenv", "TAG", "1"]
    assert words.count("--setenv") == 1


@pytest.mark.parametrize(
    "flag", ["user", "pid", "net", "ipc", "uts"], ids=lambda flag: f"--unshare-{flag}"
)
def test_namespaces_of_its_own(place: SimpleNamespace, flag: str) -> None:
    """Each of them, never only as far as it can be had; and none within."""
    words = arguments(Box(writable=(place.work,)), place.own, TAGS)
    assert f"--unshare-{flag}" in words
    assert "--disable-userns" in words
    assert ("--uid", "1000") in pairwise(words)


def test_the_order(place: SimpleNamespace) -> None:
    """What can only be read comes after what holds it, and the root is closed last."""
    protected = (f"{place.work}/.git/config", f"{place.work}/.git/hooks")
    box = Box(
        writable=(place.work, place.home), protected=protected, overlays={"/usr/bin/gh": "/x/shim"}
    )
    words = arguments(box, place.own, TAGS)
    git = f"{place.work}/.git"
    order = [
        ("--bind", place.work, place.work),
        ("--bind", git, git),
        *(("--ro-bind", path, path) for path in protected),
        ("--ro-bind", "/x/shim", "/usr/bin/gh"),
    ]
    made = mounts(words, "--bind", "--ro-bind")
    assert [made.index(each) for each in order] == sorted(made.index(each) for each in order)
    assert words[-6:] == ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]


def test_what_is_not_there_is_left_out(place: SimpleNamespace) -> None:
    """A protected file that nobody made is no fault."""
    box = Box(writable=(place.work,), protected=(f"{place.work}/.git/nothing",))
    assert f"{place.work}/.git/nothing" not in arguments(box, place.own, TAGS)


@pytest.mark.parametrize("name", ["hooks", "itself", "outside"])
def test_links_are_refused(place: SimpleNamespace, name: str) -> None:
    """A protected path that is a link, lies behind one, or lies elsewhere is not mounted."""
    elsewhere = place.folder / "elsewhere"
    (elsewhere / "hooks").mkdir()
    (place.folder / "work/hooks").symlink_to(elsewhere)
    (place.folder / "work/itself").symlink_to(elsewhere / "hooks")
    paths = {
        "hooks": f"{place.work}/hooks/hooks",
        "itself": f"{place.work}/itself",
        "outside": str(elsewhere),
    }
    with pytest.raises(Insecure):
        arguments(Box(writable=(place.work,), protected=(paths[name],)), place.own, TAGS)


def test_what_lies_within_is_mounted_once(place: SimpleNamespace) -> None:
    """A readable folder in another, or in the system's, is there already."""
    lib = str(place.folder / "lib")
    words = arguments(Box(readable=(f"{lib}/a", "/usr/lib/x")), place.own, TAGS)
    assert not {f"{lib}/a", "/usr/lib/x"} & set(words)


# --- fences ---


def test_rules_of_a_fence(place: SimpleNamespace) -> None:
    """Writable is what the box names; nothing of the machine's root, nor anybody's home."""
    rules = [*rules_of(Box(level=Level.LANDLOCK, writable=(place.work,), readable=("/opt/x",)))]
    assert [path for rights, path in rules if rights == landlock.WRITE] == [place.work.encode()]
    assert (landlock.READ, b"/opt/x") in rules
    assert not {b"/", b"/etc", b"/etc/passwd", b"/tmp", b"/home", b"/run"} & {p for _, p in rules}


@pytest.mark.parametrize("level", [Level.BWRAP, Level.NONE])
def test_a_level_there_is_none_of(tmp_path: Path, level: Level) -> None:
    """Without bubblewrap nothing is made, and certainly nothing weaker."""
    spec = SimpleNamespace(box=Box(level=level), argv=("true",))
    with pytest.raises(OSError, match="no such sandbox"):
        Boxes(tmp_path, None).enclose(spec, TAGS)  # type: ignore[arg-type]


def test_a_fence_has_no_doors(tmp_path: Path) -> None:
    """Who wants some is refused, not left without."""
    spec = SimpleNamespace(box=Box(level=Level.LANDLOCK, doors=("proxy",)), argv=("true",))
    with pytest.raises(OSError, match="no doors"):
        Boxes(tmp_path, None).enclose(spec, TAGS)  # type: ignore[arg-type]


# --- control groups ---

V1 = "4:pids:/a\n3:cpu,cpuacct:/a\n2:memory:/a\n1:name=systemd:/a\n"
V2 = "0::/b\n"
FILES = {
    "pids": ("pids.max",),
    "memory": ("memory.limit_in_bytes", "memory.swappiness"),
    "cpu,cpuacct": ("cpu.cfs_quota_us",),
}
LINKS = ("cpu", "cpuacct")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return the root of hierarchies of both versions; what is made there has its files at once."""
    root = tmp_path / "cgroup"
    for name in FILES:
        (root / name / "a").mkdir(parents=True)
        (root / name / "a" / "cgroup.procs").write_text("")
    for name in LINKS:
        (root / name).symlink_to("cpu,cpuacct")
    (root / "b").mkdir()
    (root / "b" / "cgroup.procs").write_text("")
    (root / "b" / "cgroup.controllers").write_text("pids memory\n")
    (root / "b" / "cgroup.subtree_control").write_text("")
    return root


@pytest.fixture
def making(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a new folder have files, as those of the kernel have."""
    assert tree.exists()
    real = Path.mkdir

    def mkdir(path: Path, **given: bool) -> None:
        real(path, **given)
        hierarchy = path.resolve().parent.parent.name
        names = FILES.get(hierarchy, ("pids.max", "memory.max", "memory.swap.max"))
        for name in (*names, "cgroup.procs"):
            (path / name).write_text("")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    yield
    monkeypatch.undo()


def groups(tree: Path, text: str) -> Cgroups:
    """Return the groups of a process that is where a text says."""
    own = tree / "own"
    own.write_text(text)
    return Cgroups(Path("/data"), tree, own)


def test_places_of_the_first_version(tree: Path) -> None:
    """Each controller has a hierarchy."""
    found = groups(tree, V1).controllers
    assert {name: place.resolve() for name, place in found.items()} == {
        "pids": tree / "pids/a",
        "cpu": tree / "cpu,cpuacct/a",
        "memory": tree / "memory/a",
    }


def test_places_of_the_second_version(tree: Path) -> None:
    """All share one, and those it has are switched on for what is made there."""
    assert groups(tree, V2).controllers == {"pids": tree / "b", "memory": tree / "b"}
    assert (tree / "b/cgroup.subtree_control").read_text() == "+memory"


@pytest.mark.parametrize("text", ["", "0::/nowhere\n"])
def test_no_place(tree: Path, text: str) -> None:
    """Where none can be made there is none, and that is no fault."""
    found = groups(tree, text)
    assert not found.controllers
    found.make("x", Limits()).take(1)


def test_nobody_told_where_we_are(tmp_path: Path) -> None:
    """As on a system without control groups."""
    assert not Cgroups(tmp_path, tmp_path, tmp_path / "nothing").controllers


@pytest.mark.usefixtures("making")
def test_limits_of_the_first_version(tree: Path) -> None:
    """Each in its file; cpu only when there is a limit."""
    found = groups(tree, V1)
    found.make("x", Limits(memory_mb=64, processes=7))
    assert not [*(tree / "cpu,cpuacct/a").glob("pandar-*")]
    found.make("y", Limits(memory_mb=64, processes=7, cpu=0.5)).take(42)
    (pids,) = (tree / "pids/a").glob("pandar-*-y")
    (memory,) = (tree / "memory/a").glob("pandar-*-y")
    (cpu,) = (tree / "cpu,cpuacct/a").glob("pandar-*-y")
    assert (pids / "pids.max").read_text() == "7"
    assert (memory / "memory.limit_in_bytes").read_text() == str(64 * 2**20)
    assert (cpu / "cpu.cfs_quota_us").read_text() == "50000"
    assert {(each / "cgroup.procs").read_text() for each in (pids, memory, cpu)} == {"42"}


@pytest.mark.usefixtures("making")
def test_limits_of_the_second_version(tree: Path) -> None:
    """All in one folder."""
    groups(tree, V2).make("x", Limits(memory_mb=64, processes=7))
    (folder,) = (tree / "b").glob("pandar-*")
    told = [(folder / name).read_text() for name in ("pids.max", "memory.max", "memory.swap.max")]
    assert told == ["7", str(64 * 2**20), "0"]


# --- why there is none ---

SIGNS = {
    "bwrap: setting up uid map: Operation not permitted": "CAP_SETFCAP",
    "bwrap: Creating new namespace failed: namespaces exceeded": "max_user_namespaces",
    "bwrap: No permissions to create new namespace": "user namespaces are off",
    "bwrap: Creating new namespace failed: Permission denied": "user namespaces are off",
    "bwrap: Can't mount proc on /newroot/proc": "masks /proc",
    "bwrap: Creating new namespace: No space left on device": "max_user_namespaces",
    "bwrap: Unknown option --disable-userns": "too old",
    "bwrap: prctl(PR_SET_SECCOMP): Invalid argument": "filter their system calls",
}


@pytest.mark.parametrize("shown", SIGNS)
def test_known_signs(shown: str) -> None:
    """The reason in our words, what was shown, and what can be done."""
    text = faults.explain("the box ended", shown.encode())
    assert SIGNS[shown] in text
    assert shown in text
    assert text.endswith(faults.ACCEPT)


def test_every_sign_is_tried() -> None:
    """None is known that no message has."""
    assert all(any(sign in shown for shown in SIGNS) for sign, _ in faults._KNOWN)


def test_an_unknown_sign() -> None:
    """What happened and what was shown is told, whatever bytes that were."""
    assert faults.explain("the box ended", b"x \xff\n y").startswith("the box ended; x \ufffd y; ")
