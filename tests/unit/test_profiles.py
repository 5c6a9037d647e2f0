"""How agents are started: from profiles, and from what the owner set."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest

from pandar_daemon.adapters.agents.acp import AcpDriver
from pandar_daemon.adapters.agents.codex_app_server import CodexDriver
from pandar_daemon.adapters.agents.install import pinned
from pandar_daemon.adapters.agents.profiles import PROFILES
from pandar_daemon.adapters.agents.registry import Registry
from pandar_daemon.config import ConfigError
from pandar_daemon.ports.agents import Agents, Launch

HOME = Path("/homes/task-7")
KEYS = {f"PANDAR_AGENT_{name.upper()}_API_KEY": f"key-of-{name}" for name in PROFILES}


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Return where npm packages are, each with its program, and a node beside."""
    for name, profile in PROFILES.items():
        program = tmp_path / name / "node_modules" / profile.package / profile.program
        program.parent.mkdir(parents=True)
        program.touch()
    native = tmp_path / "codex" / "node_modules" / "@openai" / "codex" / "bin" / "codex.js"
    native.parent.mkdir(parents=True)
    native.touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "node").touch(mode=0o755)
    return tmp_path


def registry(packages: Path, **settings: str) -> Registry:
    """Return the agents there are with these settings."""
    path = f"{packages}/bin:/usr/bin"
    return Registry(lambda: datetime.now(UTC), settings, packages=packages, path=path)


def launch(packages: Path, agent: str, **settings: str) -> Launch:
    """Return how an agent is started with these settings, and keys for all."""
    return registry(packages, **KEYS | settings).launched(agent, HOME)


def test_knows_its_agents(packages: Path) -> None:
    """Three that come from npm, our own, and those of the owner."""
    known: Agents = registry(packages, PANDAR_AGENT_MY_BOT_COMMAND="my-bot --acp 'a b'")
    assert set(known.names) == {"claude", "codex", "gemini", "demo", "my-bot"}


def test_knows_what_is_secret(packages: Path) -> None:
    """Keys, tokens and passwords by the names of their variables; not models or addresses."""
    known = registry(
        packages,
        PANDAR_AGENT_CLAUDE_API_KEY="k",
        PANDAR_AGENT_CLAUDE_MODEL="m",
        PANDAR_AGENT_DEMO_ENV_PGPASSWORD="p",
        PANDAR_AGENT_DEMO_ENV_LANG="C",
    )
    assert known.secrets == {
        "PANDAR_AGENT_CLAUDE_API_KEY": "k",
        "PANDAR_AGENT_DEMO_ENV_PGPASSWORD": "p",
    }


@pytest.mark.parametrize("agent", PROFILES)
def test_starts_in_a_clean_environment(packages: Path, agent: str) -> None:
    """Nothing is inherited: a home of its own, its own key, telemetry and updates off."""
    found = launch(packages, agent)
    assert found.argv[0] == f"{packages}/bin/node"
    assert Path(found.argv[1]).is_file()
    environment = found.environment
    assert environment["HOME"] == str(HOME)
    assert environment["TMPDIR"] == str(HOME / "tmp")
    assert (environment["TERM"], environment["NO_COLOR"]) == ("dumb", "1")
    assert [value for value in environment.values() if "key-of-" in value] == [f"key-of-{agent}"]
    assert not any("$" in value for value in environment.values())


def test_claude_is_told_where_its_model_is(packages: Path) -> None:
    """What the owner did not set is left to the agent."""
    assert "ANTHROPIC_BASE_URL" not in launch(packages, "claude").environment
    assert "ANTHROPIC_MODEL" not in launch(packages, "claude").environment
    url = {"PANDAR_AGENT_CLAUDE_BASE_URL": "http://127.0.0.1:1/a"}
    environment = launch(packages, "claude", **url).environment
    assert environment["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:1/a"
    assert environment["CLAUDE_CONFIG_DIR"] == f"{HOME}/.claude"


def test_codex_asks_us_and_nobody_else(packages: Path) -> None:
    """Its configuration is TOML that has approvals come to us, whatever the owner's texts hold."""
    model, url = 'a"b\n[x]', 'http://127.0.0.1:1/"v1"'
    found = launch(
        packages, "codex", PANDAR_AGENT_CODEX_MODEL=model, PANDAR_AGENT_CODEX_BASE_URL=url
    )
    config = tomllib.loads(found.files[".codex/config.toml"])
    assert (config["approval_policy"], config["sandbox_mode"]) == ("on-request", "workspace-write")
    assert (config["model"], config["model_providers"]["owner"]["base_url"]) == (model, url)
    assert found.environment["INITIAL_AGENT_MODE"] == "workspace-write"
    assert found.denies_softly is False


def test_codex_has_defaults(packages: Path) -> None:
    """Without a URL it talks to its maker's, without a model to that one's choice."""
    config = tomllib.loads(launch(packages, "codex").files[".codex/config.toml"])
    assert config["model_providers"]["owner"]["base_url"] == "https://api.openai.com/v1"
    assert "model" not in config


def test_codex_may_speak_its_own_protocol(packages: Path) -> None:
    """Its own protocol knows soft denials."""
    chosen = {"PANDAR_AGENT_CODEX_DRIVER": "app-server"}
    found = launch(packages, "codex", **chosen)
    assert found.argv[1:] == (
        f"{packages}/codex/node_modules/@openai/codex/bin/codex.js",
        "app-server",
    )
    assert found.denies_softly is True
    assert isinstance(registry(packages, **chosen).driver("codex"), CodexDriver)
    assert isinstance(registry(packages).driver("codex"), AcpDriver)


def test_knows_who_hears_reasons(packages: Path) -> None:
    """Claude and Codex' own protocol can be told something within a turn."""
    told = {name: launch(packages, name).hears_reasons for name in PROFILES}
    assert told == {"claude": True, "codex": False, "gemini": False}
    chosen = {"PANDAR_AGENT_CODEX_DRIVER": "app-server"}
    assert launch(packages, "codex", **chosen).hears_reasons is True


def test_gemini_has_settings(packages: Path) -> None:
    """Its settings choose the key as the way to log in, and send nothing home."""
    settings = json.loads(launch(packages, "gemini").files[".gemini/settings.json"])
    assert settings["security"]["auth"]["selectedType"] == "gemini-api-key"
    assert settings["privacy"]["usageStatisticsEnabled"] is False


def test_demo_needs_nothing(packages: Path) -> None:
    """Our own agent runs on this Python, and nothing in the workspace can get before it."""
    found = registry(packages).launched("demo", HOME)
    assert found.argv == (sys.executable, "-P", "-m", "pandar_daemon.adapters.agents.demo")


def test_an_agent_of_the_owner(packages: Path) -> None:
    """A command, an environment, and whether it tells what it consumed."""
    settings = {
        "PANDAR_AGENT_BOT_COMMAND": "bot --mode 'a b'",
        "PANDAR_AGENT_BOT_ENV_BOT_TOKEN": "secret",
        "PANDAR_AGENT_BOT_TELLS_USAGE": "no",
        "PANDAR_AGENT_BOT_MODEL": "",
    }
    found = registry(packages, **settings).launched("bot", HOME)
    assert found.argv == ("bot", "--mode", "a b")
    assert found.environment["BOT_TOKEN"] == "secret"
    assert found.tells_usage is False


def test_another_program_for_a_known_agent(packages: Path) -> None:
    """The owner's command replaces the program, not the rest of the profile."""
    found = launch(packages, "claude", PANDAR_AGENT_CLAUDE_COMMAND="/opt/claude-acp")
    assert found.argv == ("/opt/claude-acp",)
    assert found.environment["ANTHROPIC_API_KEY"] == "key-of-claude"


@pytest.mark.parametrize("name", ["CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_AUTH_TOKEN"])
def test_other_ways_to_log_in(packages: Path, name: str) -> None:
    """A token in the environment does as well as a key."""
    made = registry(packages, **{f"PANDAR_AGENT_CLAUDE_ENV_{name}": "token"})
    assert made.launched("claude", HOME).environment[name] == "token"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"PANDAR_AGENT_X": "1"}, "PANDAR_AGENT_X is no setting of an agent"),
        ({"PANDAR_AGENT_BOT_MODEL": "m"}, "bot is no known agent: PANDAR_AGENT_BOT_COMMAND"),
        ({"PANDAR_AGENT_BOT_COMMAND": "'"}, "PANDAR_AGENT_BOT_COMMAND: No closing quotation"),
        ({"PANDAR_AGENT_CODEX_DRIVER": "x"}, "PANDAR_AGENT_CODEX_DRIVER='x': there is no"),
        ({"PANDAR_AGENT_GEMINI_DRIVER": "app-server"}, "PANDAR_AGENT_GEMINI_DRIVER="),
        ({"PANDAR_AGENT_BOT_COMMAND": "b", "PANDAR_AGENT_BOT_DRIVER": "app-server"}, "BOT_DRIVER"),
    ],
)
def test_refuses_settings(packages: Path, settings: dict[str, str], sentence: str) -> None:
    """A setting that cannot be used is named."""
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        registry(packages, **settings)


def test_ignores_what_is_not_meant_for_agents(packages: Path) -> None:
    """Other variables, and empty ones, do not matter."""
    made = registry(packages, PANDAR_DATA="/x", PANDAR_AGENT_BOT_COMMAND="", HOME="/root")
    assert "bot" not in made.names


def test_says_what_is_missing(tmp_path: Path, packages: Path) -> None:
    """What is not installed, has no key or no node says so, and what to do."""
    with pytest.raises(OSError, match="run `pandar agents install claude`"):
        registry(tmp_path / "nowhere", **KEYS).launched("claude", HOME)
    with pytest.raises(OSError, match="claude has no key: set PANDAR_AGENT_CLAUDE_API_KEY"):
        registry(packages).launched("claude", HOME)
    (packages / "bin" / "node").unlink()
    made = Registry(lambda: datetime.now(UTC), KEYS, packages=packages, path=f"{packages}/bin")
    with pytest.raises(OSError, match=r"install Node\.js 20 or later"):
        made.launched("claude", HOME)


@pytest.mark.parametrize("agent", PROFILES)
def test_pins_all_it_installs(agent: str) -> None:
    """Exact versions, a hash for each package, and no registry by name."""
    folder = files("pandar_daemon.adapters.agents").joinpath("packages", agent)
    lock = json.loads(folder.joinpath("package-lock.json").read_text())
    assert re.fullmatch(r"\d+\.\d+\.\d+", pinned(agent))
    assert lock["packages"][""]["dependencies"] == {PROFILES[agent].package: pinned(agent)}
    for name, package in lock["packages"].items():
        assert not name or package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
