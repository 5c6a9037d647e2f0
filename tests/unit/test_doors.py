"""What an agent in a box gets instead of its key."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pandar_daemon.adapters.agents import places
from pandar_daemon.adapters.agents.doors import DOOR_URL, MODEL, is_secret
from pandar_daemon.adapters.agents.profiles import CODEX, CODEX_APP_SERVER, PROFILES
from pandar_daemon.adapters.agents.registry import Registry
from pandar_daemon.configuration import parse
from pandar_daemon.ports import Launch, Upstream
from pandar_daemon.wiring.configured import agent_settings

HOME = Path("/homes/task-7")
SECRET = "sk-of-the-owner"
SERVERS: Mapping[str, tuple[str, dict[str, str]]] = {
    "claude": ("https://api.anthropic.com", {"X-Api-Key": SECRET}),
    "codex": ("https://api.openai.com/v1", {"Authorization": f"Bearer {SECRET}"}),
    "gemini": ("https://generativelanguage.googleapis.com", {"X-Goog-Api-Key": SECRET}),
}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Return where packages and a node of the user's own are."""
    for name, profile in PROFILES.items():
        program = tmp_path / name / "node_modules" / profile.package / profile.program
        program.parent.mkdir(parents=True)
        program.touch()
    (tmp_path / "node-20" / "bin").mkdir(parents=True)
    (tmp_path / "node-20" / "bin" / "node").touch(mode=0o755)
    return tmp_path


def boxed(installed: Path, agent: str, **settings: str) -> Launch:
    """Return how an agent is started in a box, with settings by the end of their names."""
    prefix = f"PANDAR_AGENT_{agent.upper()}_"
    given = {f"{prefix}{name}": value for name, value in settings.items()}
    path = f"{installed}/node-20/bin:/usr/bin:/bin"
    agents = Registry(lambda: datetime.now(UTC), given, packages=installed, path=path)
    return agents.launched(agent, HOME, boxed=True)


def seen(launch: Launch) -> str:
    """Return all of a launch that its box can see."""
    return repr((launch.argv, launch.environment, launch.files, launch.hosts, launch.readable))


@pytest.mark.parametrize("agent", PROFILES)
def test_the_key_stays_outside(installed: Path, agent: str) -> None:
    """Inside there is a door, and a placeholder; whom the agent calls is behind it alone."""
    found = boxed(installed, agent, API_KEY=SECRET)
    base_url, headers = SERVERS[agent]
    paths = PROFILES[agent].paths
    assert paths
    assert found.models == {MODEL: Upstream(base_url=base_url, headers=headers, paths=paths)}
    assert SECRET not in seen(found)
    assert DOOR_URL in seen(found)
    assert found.hosts == ()


@pytest.mark.parametrize("agent", PROFILES)
def test_the_owner_s_own_server_is_behind_the_door(installed: Path, agent: str) -> None:
    """It may be anywhere; inside nobody knows of it."""
    url = "http://127.0.0.1:4000/gateway"
    found = boxed(installed, agent, API_KEY=SECRET, BASE_URL=url)
    assert found.models[MODEL].base_url == url
    assert "gateway" not in seen(found)


@pytest.mark.parametrize("variable", ["CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"])
def test_a_token_stays_outside(installed: Path, variable: str) -> None:
    """It is a bearer; inside the same variable says that there is one, and no other does."""
    url = {"ENV_ANTHROPIC_BASE_URL": "https://gateway.test"}
    found = boxed(installed, "claude", **{f"ENV_{variable}": SECRET}, **url)
    headers = {"Authorization": f"Bearer {SECRET}"}
    assert found.models[MODEL].base_url == "https://gateway.test"
    assert found.models[MODEL].headers == headers
    assert SECRET not in seen(found)
    assert found.environment[variable]
    assert found.environment["ANTHROPIC_BASE_URL"] == DOOR_URL
    assert "ANTHROPIC_API_KEY" not in found.environment


def test_codex_finds_the_door_in_its_file(installed: Path) -> None:
    """Its configuration is a file."""
    found = boxed(installed, "codex", API_KEY=SECRET, MODEL="gpt")
    config = tomllib.loads(found.files[".codex/config.toml"])
    assert config["model_providers"]["owner"]["base_url"] == DOOR_URL
    assert config["model"] == found.model == "gpt"


def test_in_a_box_codex_makes_none_of_its_own(installed: Path) -> None:
    """Its commands may do what the box lets them; it asks as ever, and before it pushes."""
    found = boxed(installed, "codex", API_KEY=SECRET)
    config = tomllib.loads(found.files[".codex/config.toml"])
    assert "sandbox_mode" not in config
    assert config["approval_policy"] == "on-request"
    chosen = config["default_permissions"]
    assert config["permissions"] == {
        chosen: {"filesystem": {":root": "write"}, "network": {"enabled": True}}
    }
    assert found.environment["INITIAL_AGENT_MODE"] == f"permission-profile:{chosen}"
    assert CODEX_APP_SERVER.inside.files == CODEX.inside.files
    assert '["git", "push"], decision="prompt"' in found.files[".codex/rules/pandar.rules"]


@pytest.mark.parametrize("inside", ["no", "yes"])
def test_in_a_box_gemini_makes_none_of_its_own(installed: Path, inside: str) -> None:
    """Whatever its settings in a repository say."""
    found = boxed(installed, "gemini", API_KEY=SECRET, KEY_INSIDE=inside)
    assert found.environment["GEMINI_SANDBOX"] == "false"


def test_an_agent_of_the_owner_has_a_door(installed: Path) -> None:
    """If it takes a URL and a key from its environment, whatever they are called there."""
    own = {
        "COMMAND": "bot",
        "BASE_URL": "https://models.test/v1",
        "API_KEY": SECRET,
        "HOSTS": "docs.test *.cdn.test:443",
        "ENV_OPENAI_BASE_URL": "$base_url/x",
        "ENV_OPENAI_API_KEY": "$api_key",
        "ENV_MAX_TOKENS": "5",
    }
    found = boxed(installed, "bot", **own)
    assert found.environment["OPENAI_BASE_URL"] == f"{DOOR_URL}/x"
    assert found.environment["MAX_TOKENS"] == "5"
    assert SECRET not in seen(found)
    assert found.models[MODEL].headers == {"Authorization": f"Bearer {SECRET}"}
    assert found.hosts == ("docs.test", "*.cdn.test:443")
    assert found.models[MODEL].paths == ()
    headed = boxed(installed, "bot", **own, KEY_HEADER="X-Key", PATHS="/a /b/*")
    assert headed.models[MODEL].headers == {"X-Key": SECRET}
    assert headed.models[MODEL].paths == ("/a", "/b/*")


@pytest.mark.parametrize(
    "settings",
    [
        {"ENV_BOT_TOKEN": SECRET},
        {"ENV_BOT_HEADERS": f"X-Key: {SECRET}", "API_KEY": SECRET},
        {"ENV_AWS_SECRET_ACCESS_KEY": "x"},
    ],
)
def test_a_secret_is_not_let_in(installed: Path, settings: dict[str, str]) -> None:
    """Unless the owner says that all that runs in the box may have it."""
    with pytest.raises(PermissionError, match="PANDAR_AGENT_BOT_KEY_INSIDE=yes"):
        boxed(installed, "bot", COMMAND="bot", **settings)
    found = boxed(installed, "bot", COMMAND="bot", KEY_INSIDE="yes", **settings)
    assert found.models == {}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://models.test/v1", "models.test:443"),
        ("http://models.test/v1", "models.test:80"),
        ("https://models.test:8443", "models.test:8443"),
        ("https://[2001:db8::1]/", "[2001:db8::1]:443"),
    ],
)
def test_a_key_inside_needs_its_host(installed: Path, url: str, host: str) -> None:
    """Then the agent calls its model by itself."""
    found = boxed(installed, "claude", API_KEY=SECRET, BASE_URL=url, KEY_INSIDE="yes")
    assert found.environment["ANTHROPIC_API_KEY"] == SECRET
    assert found.environment["ANTHROPIC_BASE_URL"] == url
    assert (found.models, found.hosts) == ({}, (host,))


def test_without_a_key_nothing_starts(installed: Path) -> None:
    """As outside."""
    with pytest.raises(PermissionError, match="claude has no key"):
        boxed(installed, "claude")


def test_a_box_shows_what_programs_are_made_of(installed: Path) -> None:
    """Packages, a node of the user's own, this Python for our agent; nothing a system has."""
    found = boxed(installed, "claude", API_KEY=SECRET)
    assert set(found.readable) == {
        f"{installed}/claude",
        f"{installed}/node-20",
        f"{installed}/node-20/bin/node",
    }
    ours = boxed(installed, "demo").readable
    assert any(Path(sys.prefix).is_relative_to(path) for path in ours)
    assert any(path.endswith("/pandar_daemon") for path in ours)
    assert not any(Path(path).is_relative_to("/usr") for path in ours)
    assert boxed(installed, "bot", COMMAND="sh -c x").readable == ()
    assert places.of_program("no-such-program", "/usr/bin") == ()


def test_a_program_by_itself_is_shown_by_itself(tmp_path: Path) -> None:
    """Not the folder it happens to be in."""
    (tmp_path / "bot").touch(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "bot")
    assert places.of_program("link", str(tmp_path)) == (f"{tmp_path}/link", f"{tmp_path}/bot")


@pytest.mark.parametrize(
    ("variable", "secret"),
    [
        ("BOT_TOKEN", True),
        ("OPENAI_API_KEY", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("DB_PASSWORD", True),
        ("GITHUB_PAT", True),
        ("MAX_THINKING_TOKENS", False),
        ("KEYBOARD", False),
        ("PATH", False),
        ("AUTHOR", False),
    ],
)
def test_what_is_called_like_a_secret(variable: str, *, secret: bool) -> None:
    """By the words in its name."""
    assert is_secret(variable) is secret


def test_the_owner_s_file_says_the_same() -> None:
    """As variables would."""
    found = parse(
        b'[agents.bot]\nargv = ["bot"]\nhosts = ["a.test", "b.test:1"]\nkey_inside = true\n'
        b'key_header = "X-Key"\npaths = ["/a", "/b/*"]\n',
        "pandar.toml",
    )
    assert agent_settings(found.agents, "P_") == {
        "P_BOT_COMMAND": "bot",
        "P_BOT_HOSTS": "a.test b.test:1",
        "P_BOT_KEY_HEADER": "X-Key",
        "P_BOT_KEY_INSIDE": "yes",
        "P_BOT_PATHS": "/a /b/*",
    }
