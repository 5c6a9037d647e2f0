"""The same attempts at level landlock: what is not claimed is named, and nothing else succeeds."""

from __future__ import annotations

import pytest

from events.confinement import Level
from pandar_daemon.adapters.sandbox import landlock
from tests.isolation import inside
from tests.isolation.trials import TRIALS
from tests.isolation.where import results, users

pytestmark = [
    pytest.mark.xdist_group("isolation"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(landlock.abi() < landlock.ABI_MIN, reason="no Landlock to be had"),
]

_GIT = "nothing that lies in a writable folder can be protected"
_SEEN = "files that cannot be opened can be seen to be there"
_COPIED = "a clone at this level shares no objects, so it changes its own copy"
IN_THE_REPOSITORY = {
    "plant_a_git_hook": _GIT,
    "change_the_git_config": _GIT,
    "change_the_git_config_by_git": _GIT,
    "swap_the_git_folder": _GIT,
    "remove_the_git_folder": _GIT,
}
GAPS = {
    **IN_THE_REPOSITORY,
    "read_the_real_home": _SEEN,
    "reach_a_docker_socket": _SEEN,
    "change_a_shared_pack": _COPIED,
    "change_a_shared_pack_by_another_name": _COPIED,
    "see_the_runner": "there is no list of processes of its own",
}
GAPS_OF_ROOT = {"become_root": "who is root stays root, without any of its capabilities"}
CANNOT = {
    "write_to_temporary_folders": "they are everybody's: TMPDIR leads to its own",
    "share_memory": "the memory that has names is everybody's",
    "start_a_server_and_call_it": "there is no network of its own, so there is none",
    "use_unix_sockets": "no rule of Landlock covers them, so there are none but pairs",
    "know_who_it_is": "it has no users of its own, and may not read the machine's",
}
LINKED = "a_link_instead_of_a_protected_file"
"""The trial that is not claimed: nothing is protected, so nothing is looked at."""
NAMES = (*inside.ATTEMPTS, *inside.ERRANDS)


def _gaps(who: str) -> dict[str, str]:
    return GAPS | (GAPS_OF_ROOT if who == "root" else {})


@pytest.mark.parametrize("who", users())
@pytest.mark.parametrize("name", inside.ATTEMPTS)
def test_it_cannot(name: str, who: str) -> None:
    """But for what is a known gap; outside of its own folder nothing is changed by those either."""
    result = results(who, NAMES, level=Level.LANDLOCK)[name]
    assert name in _gaps(who) or not result["done"], result["how"]
    assert name in IN_THE_REPOSITORY or result["outside"], "something outside was changed"


@pytest.mark.parametrize("who", users())
@pytest.mark.parametrize("name", [*IN_THE_REPOSITORY, "see_the_runner"])
def test_a_gap_is_one(name: str, who: str) -> None:
    """What is said to be possible is, or nobody need be warned of it."""
    result = results(who, NAMES, level=Level.LANDLOCK)[name]
    assert result["done"] or not result["outside"]


@pytest.mark.parametrize("who", users())
@pytest.mark.parametrize("name", inside.ERRANDS)
def test_it_can(name: str, who: str) -> None:
    """All but what needs a place or a network of its own."""
    result = results(who, NAMES, level=Level.LANDLOCK)[name]
    assert name in CANNOT or result["done"], result["how"]


@pytest.mark.parametrize("who", users())
@pytest.mark.parametrize("name", [name for name in TRIALS if name != LINKED])
def test_it_is_harmless(name: str, who: str) -> None:
    """Who uses too much, or will not end, harms nobody else."""
    tried = tuple(name for name in TRIALS if name != LINKED)
    assert not results(who, tried, "tests.isolation.trials", Level.LANDLOCK)[name]["wrong"]
