"""Secrets for one command, and tools that are run outside: what comes of an order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from events.calls import ToolCall
from events.secret import SecretUse
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.domain.redaction import Redactor
from pandar_daemon.domain.refusals import Rejected
from pandar_daemon.ports import Ending, Order, Permission, Secret
from pandar_daemon.services.git_orders import GitOrders, verb_of
from pandar_daemon.services.openings import Openings, Tool
from pandar_daemon.services.secret_orders import SecretOrders
from pandar_daemon.services.tool_orders import ToolOrders, Workshop
from tests.support.pushes import Screen

VALUE = "s3cr3t-value-of-some-length"


class Vaulted:
    """The secrets of a project, as `services.secrets` tells them."""

    def __init__(self, redactor: Redactor) -> None:
        self.kept = {
            "API_KEY": Secret(name="API_KEY", use=SecretUse.ENV, value=VALUE),
            "DEPLOY": Secret(name="DEPLOY", use=SecretUse.GIT, value="ghp_x"),
        }
        self.lost = False
        self._redactor = redactor

    async def named(self) -> dict[str, SecretUse]:
        """Return the names."""
        if self.lost:
            raise Rejected("it is over")
        return {name: secret.use for name, secret in self.kept.items()}

    async def get(self, name: str) -> Secret | None:
        """Return one."""
        found = self.kept.get(name)
        if found is not None:
            self._redactor.learn({name: found.value})
        return found


class Shop:
    """What orders are given to."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[ToolCall] = []
        self.allowed = True
        self.redactor = Redactor()
        self.vault = Vaulted(self.redactor)
        self.folder = folder
        self.secrets = SecretOrders(self.vault, self.inquire)  # type: ignore[arg-type]

    async def inquire(self, call: ToolCall, why: str) -> Permission:
        """See `ports.Inquire`."""
        assert why
        self.asked.append(call)
        return Permission(allowed=self.allowed, text="This was denied.")

    def tools(self, **tools: Tool) -> ToolOrders:
        """Return what runs these tools."""
        workspace = self.folder / "workspace"
        workspace.mkdir(exist_ok=True)
        (workspace / "file").write_text("of the task")
        shop = Workshop(
            host=Host(self.folder / "host"),
            clock=SystemClock(),
            folder=self.folder / "outside",
            path=os.environ["PATH"],
            tools=tools,
            openings=Openings(),
            secrets=self.vault,  # type: ignore[arg-type]
            workspace=str(workspace),
            repository="https://github.com/o/r.git",
            branch="pandar/1-x",
            redact=self.redactor.bytes,
        )
        return ToolOrders(shop, self.inquire)

    async def order(self, orders: SecretOrders | ToolOrders, *words: str) -> tuple[Ending, str]:
        """Order something; return how it ended, and what was shown."""
        screen, (tool, *argv) = Screen(), words
        ending = await orders.order(Order(tool=tool, argv=tuple(argv), cwd="/w"), screen)
        return ending, (screen.out + screen.err).decode()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Return one."""
    return Shop(tmp_path)


async def test_a_secret_for_one_command(shop: Shop) -> None:
    """After consent, by name, in its environment; and nothing shows it any more."""
    words = ("pandar-secret", "run", "API_KEY", "--", "pytest", "-k", "api")
    ending, shown = await shop.order(shop.secrets, *words)
    assert (ending.argv, ending.environment) == (("pytest", "-k", "api"), {"API_KEY": VALUE})
    assert shown == ""
    assert shop.asked[0].command == "pandar-secret run API_KEY -- pytest -k api"
    assert shop.redactor.text(VALUE) != VALUE
    assert VALUE not in repr(shop.asked)


async def test_no_consent_no_secret(shop: Shop) -> None:
    """It is not even opened."""
    shop.allowed = False
    ending, shown = await shop.order(shop.secrets, "pandar-secret", "run", "API_KEY", "--", "env")
    assert (ending, shown) == (Ending(exit_code=126), "This was denied.\n")
    assert shop.redactor.text(VALUE) == VALUE


@pytest.mark.parametrize("name", ["NOPE", "DEPLOY"])
async def test_what_there_is_not(shop: Shop, name: str) -> None:
    """Nobody is asked about it; nor about what git alone uses."""
    ending, shown = await shop.order(shop.secrets, "pandar-secret", "run", name, "--", "env")
    assert (ending.exit_code, shop.asked) == (126, [])
    assert f"no secret {name}" in shown
    assert "there are API_KEY" in shown


@pytest.mark.parametrize(
    "words", ["", "run", "run API_KEY", "run -- env", "run api -- env", "run API_KEY --", "get X"]
)
async def test_what_cannot_be_read(shop: Shop, words: str) -> None:
    """It says how."""
    ending, shown = await shop.order(shop.secrets, "pandar-secret", *words.split())
    assert (ending.exit_code, shop.asked, "usage" in shown) == (126, [], True)


async def test_the_names_there_are(shop: Shop) -> None:
    """Are no secret."""
    assert await shop.order(shop.secrets, "pandar-secret", "list") == (Ending(), "API_KEY\n")
    shop.vault.lost = True
    ending, shown = await shop.order(shop.secrets, "pandar-secret", "list")
    assert (ending.exit_code, "it is over" in shown) == (126, True)


async def test_a_tool_nobody_set_up(shop: Shop) -> None:
    """It says who can, and where; nobody is asked."""
    ending, shown = await shop.order(shop.tools(), "gh", "pr", "create")
    assert (ending.exit_code, shop.asked) == (126, [])
    assert "[projects.N.tools.gh]" in shown


async def test_a_tool(shop: Shop) -> None:
    """It runs with the project's secret, in an empty folder, and shows no secret."""
    script = 'echo "$GH_REPO $*"; ls -A; echo "$API_KEY" >&2; env | cut -d= -f1; exit 3'
    gh = Tool(argv=("/bin/sh", "-c", script, "gh"), secrets=("API_KEY",), env={"A": "b"})
    ending, shown = await shop.order(shop.tools(gh=gh), "gh", "pr", "create", "--fill")
    assert ending.exit_code == 3
    assert shown.startswith("o/r pr create --fill --head pandar/1-x\n")
    assert "[REDACTED:API_KEY]" in shown
    assert VALUE not in shown
    names = {"PATH", "HOME", "TMPDIR", "LANG", "TERM", "GH_REPO", "A", "API_KEY"}
    assert names <= set(shown.split())
    assert not {"file", "PANDAR_MASTER_KEY"} & set(shown.split())
    assert not list((shop.folder / "outside").iterdir())
    assert shop.asked[0].command == "gh pr create --fill"


async def test_a_tool_that_reads_the_workspace(shop: Shop) -> None:
    """Where its owner said so."""
    twine = Tool(argv=("/bin/cat",), workspace=True)
    _, shown = await shop.order(shop.tools(twine=twine), "twine", "file")
    assert shown == "of the task"


async def test_a_tool_that_is_denied(shop: Shop) -> None:
    """It does not run."""
    shop.allowed = False
    gh = Tool(argv=("/bin/touch", str(shop.folder / "ran")))
    ending, shown = await shop.order(shop.tools(gh=gh), "gh", "x")
    assert (ending.exit_code, shown) == (126, "This was denied.\n")
    assert not (shop.folder / "ran").exists()


async def test_a_tool_that_fails(shop: Shop) -> None:
    """Without its secret, its program, or in its time."""
    tools = {
        "gh": Tool(argv=("/bin/true",), secrets=("NOPE",)),
        "aws": Tool(argv=("/no/such",)),
        "az": Tool(argv=("/bin/sleep", "60"), timeout_sec=0.2),
    }
    said = {"gh": "no secret NOPE", "aws": "/no/such", "az": "longer than 0.2 s"}
    for name, text in said.items():
        ending, shown = await shop.order(shop.tools(**tools), name)
        assert (ending.exit_code, text in shown) == (1, True), shown


@pytest.mark.parametrize("words", ["npm run publish", "docker buildx build .", "uv run publish"])
async def test_what_runs_in_the_box(shop: Shop, words: str) -> None:
    """It reaches out only by what it runs there, which comes to the door itself."""
    ending, _ = await shop.order(shop.tools(), *words.split())
    assert (ending.argv, shop.asked) == (tuple(words.split()[1:]), [])


async def test_git_but_for_pushes(shop: Shop) -> None:
    """Fetches are the box's own affair; what is behind a push is refused."""
    orders = GitOrders(None)
    for words in ("fetch", "-C push pull", "push"):
        argv = tuple(words.split())
        assert await orders.order(Order(tool="git", argv=argv), Screen()) == Ending(argv=argv)
    screen = Screen()
    ending = await orders.order(Order(tool="git", argv=("send-pack", "x")), screen)
    assert (ending.exit_code, b"use git push" in screen.err) == (126, True)
    assert verb_of(("-c", "a=b", "--bare")) == ""
