"""What an owner may configure, and how each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.calls import GATE_NAMES, CallKind, GateRule, Match, Rules, Severity
from pandar_daemon.config import ConfigError
from pandar_daemon.configuration import (
    SIZE_MAX,
    AgentTable,
    ChannelTable,
    Configuration,
    SmtpTable,
    default_path,
    load,
    parse,
)
from pandar_daemon.domain.gates import GATES
from pandar_daemon.domain.money import Price

WHOLE = b"""
policy = "auto_with_gates"
stop_at = ["git_push_protected", "billing"]

[gates.billing]
match = { kinds = ["edit"], paths = ["src/billing/*"] }
severity = "high"
why = "money moves there"

[deny.production]
match = { commands = ["*--context=prod*"] }

[projects.7.gates.schema]
match = { paths = ["migrations/*"] }
[projects.7.deny.drop]
match = { commands = ["*drop table*"] }

[agents.local]
argv = ["my-agent", "--acp"]
env = { MY_MODE = "careful" }
model = "small"
base_url = "http://127.0.0.1:9000/v1"

[channels.ops]
url = "slack://xoxb-123456/#ops"

[smtp]
host = "mail.example.org"
from = "pandar@example.org"
port = 465
tls = "tls"
user = "pandar"
password_file = "smtp.password"

[prices."some/model-1.5"]
input = 3
output = 15.0
cached = 0.3

[approvals]
public_url = "https://pandar.example.org/"

[notifications]
allowed_hosts = ["10.0.0.5"]
"""


def said(content: str) -> list[str]:
    """Return what is wrong with a file, line by line."""
    with pytest.raises(ConfigError) as caught:
        parse(content.encode(), "x.toml")
    return str(caught.value).splitlines()


def test_a_whole_file_is_read() -> None:
    """Every table has its place."""
    found = parse(WHOLE, "x.toml")
    assert found.agents["local"] == AgentTable(
        argv=["my-agent", "--acp"],
        env={"MY_MODE": "careful"},
        model="small",
        base_url="http://127.0.0.1:9000/v1",
    )
    assert found.channels == {"ops": ChannelTable(url="slack://xoxb-123456/#ops")}
    assert found.smtp == SmtpTable(
        host="mail.example.org",
        sender="pandar@example.org",
        port=465,
        tls="tls",
        user="pandar",
        password_file="smtp.password",
    )
    assert found.prices == {"some/model-1.5": Price(input=3, output=15, cached=0.3)}
    assert found.approvals.public_url == "https://pandar.example.org/"
    assert found.notifications.allowed_hosts == ["10.0.0.5"]


BILLING = GateRule(
    name="billing",
    match=Match(kinds=[CallKind.EDIT], paths=["src/billing/*"]),
    severity=Severity.HIGH,
    why="money moves there",
)
PRODUCTION = GateRule(name="production", match=Match(commands=["*--context=prod*"]))


def test_rules_of_a_task() -> None:
    """What the file says counts where the task says nothing; a project adds its own."""
    found = parse(WHOLE, "x.toml")
    assert found.rules_for(1, {}) == Rules(
        gates=["git_push_protected", "billing"], own=[BILLING], denied=[PRODUCTION]
    )
    mine = found.rules_for(7, {"approval_policy": "manual", "gates": ["schema"]})
    assert (mine.policy, mine.gates) == ("manual", ["schema"])
    assert [rule.name for rule in mine.own] == ["billing", "schema"]
    assert [rule.name for rule in mine.denied] == ["production", "drop"]
    odd = found.rules_for(1, {"approval_policy": 5, "gates": [3, "billing"]})
    assert (odd.policy, odd.gates) == ("auto_with_gates", ["billing"])


def test_whom_a_task_may_call() -> None:
    """All may call some, a project others, a task what it names; private ones are the owner's."""
    found = parse(
        b"[sandbox]\nhosts = ['a.test', 'npm.corp:4873']\nprivate_hosts = ['npm.corp:4873']\n"
        b"[projects.7]\nhosts = ['b.test']",
        "x.toml",
    )
    network = {"sandbox": {"network": {"allow": ["c.test"]}, "private_hosts": ["c.test"]}}
    confines = found.confines_for(7, network)
    assert confines.hosts == ["a.test", "npm.corp:4873", "b.test", "c.test"]
    assert confines.private_hosts == ["npm.corp:4873"]
    assert found.confines_for(8, {}).hosts == ["a.test", "npm.corp:4873"]


def test_gates_that_are_known() -> None:
    """A task may name the gates of all, the owner's and its project's."""
    found = parse(WHOLE, "x.toml")
    assert list(found.gates_known(None)) == [*GATE_NAMES, "billing"]
    assert list(found.gates_known(7)) == [*GATE_NAMES, "billing", "schema"]
    assert tuple(GATES) == GATE_NAMES


def test_a_list_of_gates_is_where_to_stop() -> None:
    """A file without gates of its own may call the list ``gates``."""
    found = parse(b'gates = ["secrets_access"]', "x.toml")
    assert found.rules_for(1, {}).gates == ["secrets_access"]
    assert list(found.gates_known(1)) == [*GATE_NAMES]


def test_no_file_is_an_empty_one(tmp_path: Path) -> None:
    """Nothing is configured until there is a file."""
    path = default_path(tmp_path)
    assert load(path) == Configuration()
    assert load(path).rules_for(1, {}) == Rules()
    path.write_bytes(WHOLE)
    assert load(path) == parse(WHOLE, "")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """The message names the file and what the system says."""
    with pytest.raises(ConfigError, match=f"^{tmp_path}: Is a directory"):
        load(tmp_path)


WRONG = {
    "gate = 1": [
        "gate: is not known here; there are policy, stop_at, gates, deny, allow, projects,"
    ],
    'policy = "yolo"': ["policy: expected one of auto, manual, auto_with_gates"],
    'gates = ["pushing"]': ["gates: pushing is no gate; there are budget, destructive_fs,"],
    'stop_at = ["pushing"]': ["stop_at: pushing is no gate; there are"],
    "gates = 5": ["gates: expected an object or a list, got a whole number"],
    "[gates.Billing]\nmatch = {kinds = ['edit']}": ["gates.Billing: expected a lower-case name"],
    "[gates.x]": ["gates.x.match: is required"],
    "[gates.x]\nmatch = {}": ["gates.x.match: must state one of kinds, tools, commands,"],
    "[deny.x]\nmatch = {}": ["deny.x.match: must state one of"],
    "[projects.7.deny.x]\nmatch = {}": ["projects.7.deny.x.match: must state one of"],
    "[gates.x]\nmatch = {kind = 'edit'}": [
        "gates.x.match.kind: is not known here; there are kinds"
    ],
    "[gates.x]\nmatch = {kinds = ['fly']}": ["gates.x.match.kinds[0]: must be one of read, edit,"],
    "[gates.x]\nmatch = {paths = [5]}": [
        "gates.x.match.paths[0]: expected text, got a whole number"
    ],
    "[gates.budget]\nmatch = {paths = ['x']}": ["gates.budget: is the name of a gate there is"],
    "[gates.unclassified]\nmatch = {paths = ['x']}": ["gates.unclassified: is the name of a gate"],
    "[projects.site.gates.x]\nmatch = {paths = ['x']}": ["projects.site: expected the number of a"],
    "[projects.7]\nowner = 'x'": ["projects.7.owner: is not known here; there are gates, deny"],
    "[agents.x]\nargv = 'x'": ["agents.x.argv: expected a list, got text"],
    "[agents.x]\nbase_url = 'x'": ["agents.x.base_url: expected a URL such as https://host/path"],
    "[agents.x]\nhosts = ['*']": ["agents.x.hosts[0]: '*' is no name of a host"],
    "[agents.x]\nkey_header = 'X Y'": ["agents.x.key_header: expected the name of a header"],
    "[sandbox]\nhosts = ['ok.test', '*.com']": ["sandbox.hosts[1]: *.com means too many: name"],
    "[sandbox]\nprivate_hosts = ['*.corp.test']": [
        "sandbox.private_hosts[0]: *.corp.test is not one host"
    ],
    "[projects.7]\nhosts = ['127.1']": ["projects.7.hosts[0]: '127.1' is no usual form of an"],
    "[channels.x]": ["channels.x.url: is required"],
    "[smtp]\nhost = 'x'": ["smtp.from: is required"],
    "[smtp]\nhost = 'x'\nfrom = 'x'": ["smtp.from: expected a mail address"],
    "[smtp]\nhost = 'x'\nfrom = 'a@b'\nport = 0": [
        "smtp.port: expected a whole number, at least 1"
    ],
    "[smtp]\nhost = 'x'\nfrom = 'a@b'\npassword = 'x'": ["smtp.password: is not known here"],
    "[prices.'a.b']\ninput = -1\noutput = 1": ['prices."a.b".input: expected a number, at least 0'],
    "[prices.x]\ninput = 1": ["prices.x.output: is required"],
    "[approvals]\npublic_url = 'ftp://x'": ["approvals.public_url: expected a URL such as"],
    "[allow.x]\nmatch = { paths = ['a'] }": ["allow.x.match: must state commands"],
    "[projects.7.allow.x]\nmatch = { commands = ['* a'] }": [
        "projects.7.allow.x.match.commands: must begin each command with the name of a program"
    ],
    "a = ": ["no TOML: Invalid value (at end of document)"],
    "a = 1\na = 2": ["no TOML: Cannot overwrite a value"],
    "x = 1\n[smtp]\nhost = 5": ["x: is not known", "smtp.from: is required", "smtp.host: expected"],
}


@pytest.mark.parametrize("content", WRONG)
def test_a_mistake_is_told_with_its_place(content: str) -> None:
    """File, key and what is expected stand in the message; nothing of the file is used."""
    lines = said(content)
    assert len(lines) == len(WRONG[content])
    for expected in WRONG[content]:
        assert any(line.startswith(f"x.toml: {expected}") for line in lines), lines


def test_a_file_that_is_too_long_or_no_text_is_refused() -> None:
    """Size and encoding are told before anything else."""
    assert said("#" * (SIZE_MAX + 1)) == [f"x.toml: expected at most {SIZE_MAX} bytes"]
    with pytest.raises(ConfigError, match=r"x\.toml: no UTF-8 at byte 1"):
        parse(b"#\xff", "x.toml")


def test_only_the_first_faults_are_told() -> None:
    """A file of another kind is not answered with a line for each of its keys."""
    assert len(said("\n".join(f"x{n} = 1" for n in range(100)))) == 10


@given(
    st.binary(max_size=200) | st.text(alphabet='[]{}="\n.gatesdny12 ', max_size=80).map(str.encode)
)
def test_any_content_is_read_or_refused(content: bytes) -> None:
    """Nothing but `ConfigError` comes of a file, whatever it holds."""
    try:
        found = parse(content, "x.toml")
    except ConfigError:
        return
    assert found.rules_for(1, {}).policy
