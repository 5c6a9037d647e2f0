"""The guard on shell text: what it refuses, what it must let pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.domain.guard_filing import dangerous

REFUSED = {
    "sudo reboot": "sudo",
    "  sudo reboot": "sudo",
    "/usr/bin/sudo reboot": "/usr/bin/sudo",
    "doas reboot": "doas",
    "su - root": "su",
    "pkexec id": "pkexec",
    '"sudo" id': "sudo",
    "'su'do id": "sudo",
    "s\\udo id": "sudo",
    "su\\\ndo id": "sudo",
    "true; sudo id": "sudo",
    "true & sudo id": "sudo",
    "true | sudo tee /etc/x": "sudo",
    "true && sudo id": "sudo",
    "true || sudo id": "sudo",
    "true\nsudo id": "sudo",
    "true\r\nsudo id\r\n": "sudo",
    "(sudo id)": "sudo",
    "true; (cd /; sudo id)": "sudo",
    "{ sudo id; }": "sudo",
    "! sudo id": "sudo",
    "echo $(sudo id)": "sudo",
    'echo "now: $(sudo id)"': "sudo",
    'echo "`sudo id`"': "sudo",
    'echo "a $(echo "b $(sudo id)") c"': "sudo",
    "echo `sudo id`": "sudo",
    "diff <(sudo cat /a) b": "sudo",
    "tee >(sudo cat) <x": "sudo",
    "if sudo true; then echo; fi": "sudo",
    "if true; then sudo id; else true; fi": "sudo",
    "for x in a; do sudo $x; done": "sudo",
    "case x in a) sudo id;; esac": "sudo",
    "f() { sudo id; }": "sudo",
    "A=1 B+=2 C[0]=3 sudo id": "sudo",
    "A='x y' sudo id": "sudo",
    ">log sudo id": "sudo",
    "2>/dev/null sudo id": "sudo",
    "&>> log sudo id": "sudo",
    "env sudo id": "sudo",
    "env -i -u HOME -- A=1 sudo id": "sudo",
    "env --unset HOME sudo id": "sudo",
    "nohup sudo id": "sudo",
    "time -p sudo id": "sudo",
    "nice -n 10 sudo id": "sudo",
    "nice -10 sudo id": "sudo",
    "timeout 5 sudo id": "sudo",
    "timeout -k 5 -s KILL 10 sudo id": "sudo",
    "timeout --signal=KILL 10 sudo id": "sudo",
    "exec -a me sudo id": "sudo",
    "command sudo id": "sudo",
    "xargs -0 -n 1 sudo rm": "sudo",
    "nohup nice env A=1 timeout 5 sudo id": "sudo",
    "rm -rf /": "rm -rf",
    "rm -fr x": "rm -fr",
    "rm -r -f x": "rm -r -f",
    "rm -f x -r": "rm -f -r",
    "rm x -rf": "rm -rf",
    "rm -Rf x": "rm -Rf",
    "rm -vrfi x": "rm -vrfi",
    "rm --recursive --force x": "rm --recursive --force",
    "rm --force -r x": "rm --force -r",
    "rm --rec --fo x": "rm --rec --fo",
    "/bin/rm -rf x": "/bin/rm -rf",
    "\\rm -rf x": "rm -rf",
    "r''m -r\"f\" x": "rm -rf",
    "find . | xargs rm -rf": "rm -rf",
    "cd /tmp&&rm -rf x": "rm -rf",
    "# it's a comment\nsudo id": "sudo",
    "sudo echo 'unclosed": "sudo",
}


PASSES = [
    "",
    "   \n ",
    "summarize the test suite",
    "fix the issue with the result of the su command, and use no sudo",
    "codex audit --fix --create-pr",
    "Please don't run sudo; it's never needed",
    "audit the repo and fix what you find",
    'grep -rn "rm -rf" docs/',
    "grep -rn 'sudo reboot; rm -rf /' docs/",
    "echo sudo",
    "echo 'a;sudo b'",
    'echo "a; sudo b"',
    "echo a\\;sudo",
    "echo a # ; sudo id",
    "echo a#b; true",
    "man rm",
    "rm -r build",
    "rm -f build.log",
    "rm -i -v x",
    "rm -r -- -f",
    "rm x; ls -rf",
    "ls -rf; rm -r x",
    "rmdir -rf",
    "sudoku --solve",
    "pseudo",
    "./sudo-free.sh",
    "command -v sudo",
    "command -V rm -rf",
    "echo > sudo",
    "make 2>&1 sudo",
    "cat <<< sudo",
    "env A=1 echo sudo",
    "git commit -m 'stop using sudo'",
    'git commit -m "$(echo no sudo)"',
    "timeout 5",
    "env -u",
    "'unclosed sudo; sudo id",
    '"unclosed; sudo id',
    "a\\",
]


@pytest.mark.parametrize("command", REFUSED)
def test_refuses_in_command_position(command: str) -> None:
    """What a shell would run as root, or delete without asking, is named as it stands."""
    assert dangerous(command) == REFUSED[command]


@pytest.mark.parametrize("command", PASSES)
def test_lets_prose_and_arguments_pass(command: str) -> None:
    """Words that only talk of danger are no danger."""
    assert dangerous(command) is None


@given(st.text(alphabet="sudorm -rf\\\n\t'\"`$(){}<>;&|!#=/ab1-", max_size=60) | st.text())
def test_never_raises(command: str) -> None:
    """Whatever the text is, the answer is a fragment or nothing."""
    assert dangerous(command) is None or dangerous(command)


@given(st.text(max_size=40).filter(lambda text: "'" not in text))
def test_quoted_arguments_never_matter(text: str) -> None:
    """Single quotes in argument position hide everything."""
    assert dangerous(f"echo '{text}'") is None


@given(st.sampled_from(["a", "a 'b c'", "A=1 b > c", "(a)", 'a "$(b)"', "a `b`"]))
def test_a_command_after_any_whole_command_is_seen(before: str) -> None:
    """Nothing that is complete hides the command after it."""
    assert dangerous(f"{before}; sudo id") == "sudo"


@pytest.mark.parametrize("piece", ["$(", "`", "(", '"$(', "! ", "env ", "x=1 ", "rm -r "])
def test_depth_is_no_trap(piece: str) -> None:
    """The longest command made of one opener is judged like any other."""
    assert dangerous((piece * 10_000)[:10_000]) is None
