"""How each agent is started, as data: its program, environment, files in its HOME, and quirks.

Values in texts: ``$home`` is the HOME of the task; ``$api_key``, ``$base_url`` and ``$model`` are
what the owner set. In files they are quoted as JSON, which a TOML string is, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from pandar_daemon.adapters.agents.doors import Key
from pandar_daemon.adapters.agents.quirks import Quirks

ACP: Final = "acp"
APP_SERVER: Final = "app-server"


class Inside(Struct, frozen=True, kw_only=True):
    """What an agent gets in a box, over what it gets anywhere."""

    environment: Mapping[str, str] = {}
    files: Mapping[str, str] = {}


class Profile(Struct, frozen=True, kw_only=True):
    """One agent.

    ``program`` is a file of an npm package, run by Node.js; without one, ``argv`` is all of it.
    ``environment`` is beside what every agent gets. An entry that names a value the owner did not
    set is left out, as is a line of a file that does. One of ``keys`` must be in the environment.
    ``server`` is where its model is when the owner names no other; of what that serves, ``paths``
    are what the agent calls, and not batches or files of others. ``inside`` is what counts instead
    in a box, where a sandbox of the agent's own could not be made.
    """

    name: str
    package: str = ""
    program: str = ""
    argv: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}
    files: Mapping[str, str] = {}
    defaults: Mapping[str, str] = {}
    keys: tuple[Key, ...] = ()
    server: str = ""
    paths: tuple[str, ...] = ()
    tells_usage: bool = True
    denies_softly: bool = True
    driver: str = ACP
    quirks: Quirks = Quirks()
    inside: Inside = Inside()


CLAUDE: Final = Profile(
    name="claude",
    package="@agentclientprotocol/claude-agent-acp",
    program="dist/index.js",
    environment={
        "ANTHROPIC_API_KEY": "$api_key",
        "ANTHROPIC_BASE_URL": "$base_url",
        "ANTHROPIC_MODEL": "$model",
        "CLAUDE_CONFIG_DIR": "$home/.claude",
        "CLAUDE_AGENT_ACP_PROTOCOL": "v1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_BUG_COMMAND": "1",
        "DISABLE_ERROR_REPORTING": "1",
        "DISABLE_TELEMETRY": "1",
    },
    keys=(
        Key("ANTHROPIC_API_KEY", "X-Api-Key", ""),
        Key("CLAUDE_CODE_OAUTH_TOKEN"),
        Key("ANTHROPIC_AUTH_TOKEN"),
    ),
    server="https://api.anthropic.com",
    paths=("/v1/messages", "/v1/messages/count_tokens", "/v1/models", "/v1/models/*"),
    quirks=Quirks(agent="claude", steers=True),
)

_CODEX_CONFIG: Final = """\
model = $model
model_provider = "owner"
approval_policy = "on-request"
check_for_update_on_startup = false
cli_auth_credentials_store = "file"
[model_providers.owner]
name = "owner"
base_url = $base_url
env_key = "OPENAI_API_KEY"
wire_api = "responses"
[features]
apps = false
plugins = false
[analytics]
enabled = false
[feedback]
enabled = false
[otel]
exporter = "none"
metrics_exporter = "none"
trace_exporter = "none"
"""
_CODEX_FENCED: Final = {".codex/config.toml": 'sandbox_mode = "workspace-write"\n' + _CODEX_CONFIG}
# Its mode "danger-full-access" would ask nothing at all; these permissions have it ask as ever.
_CODEX_INSIDE: Final = {
    ".codex/config.toml": f"""\
default_permissions = "pandar"
{_CODEX_CONFIG}\
[permissions.pandar.filesystem]
":root" = "write"
[permissions.pandar.network]
enabled = true
""",
    ".codex/rules/pandar.rules": """\
prefix_rule(pattern=["git", "push"], decision="prompt", justification="it leaves the box")
""",
}

CODEX: Final = Profile(
    name="codex",
    package="@agentclientprotocol/codex-acp",
    program="dist/index.js",
    environment={
        "CODEX_HOME": "$home/.codex",
        "OPENAI_API_KEY": "$api_key",
        # The other modes ask a model instead of us, or nobody.
        "INITIAL_AGENT_MODE": "workspace-write",
        "NO_BROWSER": "1",
    },
    files=_CODEX_FENCED,
    defaults={"base_url": "https://api.openai.com/v1"},
    keys=(Key("OPENAI_API_KEY"),),
    server="https://api.openai.com/v1",
    paths=("/responses", "/responses/compact", "/models", "/models/*"),
    denies_softly=False,  # its only way to reject aborts the turn
    quirks=Quirks(agent="codex"),
    inside=Inside(
        environment={"INITIAL_AGENT_MODE": "permission-profile:pandar"}, files=_CODEX_INSIDE
    ),
)

CODEX_APP_SERVER: Final = Profile(
    name="codex",
    package="@openai/codex",
    program="bin/codex.js",
    argv=("app-server",),
    environment={"CODEX_HOME": "$home/.codex", "OPENAI_API_KEY": "$api_key"},
    files=CODEX.files,
    defaults=CODEX.defaults,
    keys=CODEX.keys,
    server=CODEX.server,
    paths=CODEX.paths,
    driver=APP_SERVER,
    quirks=Quirks(agent="codex", includes_cached=True, steers=True),
    inside=Inside(files=_CODEX_INSIDE),
)

_GEMINI_SETTINGS: Final = """\
{"security": {"auth": {"selectedType": "gemini-api-key"}},
 "privacy": {"usageStatisticsEnabled": false}, "telemetry": {"enabled": false},
 "general": {"enableAutoUpdate": false, "enableAutoUpdateNotification": false, "maxAttempts": 3,
             "checkpointing": {"enabled": false}}}
"""

GEMINI: Final = Profile(
    name="gemini",
    package="@google/gemini-cli",
    program="bundle/gemini.js",
    argv=("--acp",),
    environment={
        "GEMINI_API_KEY": "$api_key",
        "GEMINI_MODEL": "$model",
        "GOOGLE_GEMINI_BASE_URL": "$base_url",
        "GEMINI_CLI_NO_RELAUNCH": "true",
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
        "GEMINI_TELEMETRY_ENABLED": "false",
    },
    files={".gemini/settings.json": _GEMINI_SETTINGS},
    keys=(Key("GEMINI_API_KEY", "X-Goog-Api-Key", ""),),
    server="https://generativelanguage.googleapis.com",
    paths=("/v1/models/*", "/v1beta/models/*", "/v1beta/models", "/v1alpha/models/*"),
    quirks=Quirks(agent="gemini", tells_by_title=True),
    # Whatever a repository's settings ask for.
    inside=Inside(environment={"GEMINI_SANDBOX": "false"}),
)

PROFILES: Final = {each.name: each for each in (CLAUDE, CODEX, GEMINI)}
"""Those that come as npm packages; `registry` adds the demo agent and the owner's own."""
