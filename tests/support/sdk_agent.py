"""An agent made with the protocol's own Python SDK, to try our client on.

Run ``python -m tests.support.sdk_agent``. It does what the prompt names: ``push`` asks for a
command, ``edit`` for a change, ``question`` asks in a form, ``wait`` asks and never goes on by
itself, ``fail`` raises, anything else is repeated.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import acp
from acp import schema

OPTIONS = [
    schema.PermissionOption(option_id="a", name="Always", kind="allow_always"),
    schema.PermissionOption(option_id="b", name="Once", kind="allow_once"),
    schema.PermissionOption(option_id="c", name="No", kind="reject_once"),
]


class Robot:
    """A small agent; its sessions are what was said in them."""

    _client: acp.Client

    def __init__(self) -> None:
        self._sessions: dict[str, list[str]] = {"before": ["said long ago"]}

    def on_connect(self, conn: acp.Client) -> None:
        """Remember who is asked."""
        self._client = conn

    async def initialize(self, protocol_version: int, **_: object) -> schema.InitializeResponse:
        """Say hello."""
        can = schema.AgentCapabilities(load_session=True)
        return schema.InitializeResponse(protocol_version=protocol_version, agent_capabilities=can)

    async def new_session(self, cwd: str, **_: object) -> schema.NewSessionResponse:
        """Begin a session named after where it is."""
        self._sessions[cwd] = []
        return schema.NewSessionResponse(session_id=cwd)

    async def load_session(self, session_id: str, **_: object) -> schema.LoadSessionResponse:
        """Repeat what was said."""
        if session_id not in self._sessions:
            raise acp.RequestError.resource_not_found(session_id)
        for words in self._sessions[session_id]:
            await self._say(session_id, words)
        return schema.LoadSessionResponse()

    async def prompt(
        self, session_id: str, prompt: list[schema.TextContentBlock], **_: object
    ) -> schema.PromptResponse:
        """Do what is named."""
        words = "".join(block.text for block in prompt)
        if words == "fail":
            raise acp.RequestError.internal_error({"errorKind": "server_error"})
        if words == "question":
            await self._question(session_id)
        elif words in ("push", "edit", "wait"):
            cancelled = await self._permit(session_id, words)
            if cancelled:
                return schema.PromptResponse(stop_reason="cancelled")
        else:
            await self._say(session_id, words)
        usage = schema.Usage(
            input_tokens=10, output_tokens=5, cached_read_tokens=2, total_tokens=17
        )
        return schema.PromptResponse(stop_reason="end_turn", usage=usage)

    async def cancel(self, **_: object) -> None:
        """Nothing: what waits was answered before."""

    async def _permit(self, session: str, what: str) -> bool:
        """Tell of a call, ask with its id alone, and say what was answered."""
        given: dict[str, Any] = {"raw_input": {"command": "git push", "cwd": session}}
        if what == "edit":
            given = {"content": [acp.tool_diff_content(f"{session}/a", "new\n", "old\n")]}
        start = acp.start_tool_call(
            f"call-{what}", what, kind="edit" if what == "edit" else "execute", **given
        )
        await self._client.session_update(session, start)
        call = schema.ToolCallUpdate(tool_call_id=f"call-{what}")
        reply = await self._client.request_permission(session, call, OPTIONS)
        chosen = getattr(reply.outcome, "option_id", "cancelled")
        await self._say(session, f"chosen: {chosen}")
        done = acp.update_tool_call(f"call-{what}", status="completed")
        await self._client.session_update(session, done)
        return chosen == "cancelled"

    async def _question(self, session: str) -> None:
        field = schema.ElicitationStringPropertySchema(
            type="string", title="Colour", enum=["red", "blue"]
        )
        form = schema.ElicitationSchema(properties={"colour": field})
        mode = schema.ElicitationFormSessionMode(session_id=session, requested_schema=form)
        reply = await self._client.create_elicitation(message="Which colour?", mode=mode)
        await self._say(session, f"answer: {getattr(reply, 'content', None)}")

    async def _say(self, session: str, words: str) -> None:
        await self._client.session_update(session, acp.update_agent_message_text(words))


if __name__ == "__main__":
    asyncio.run(acp.run_agent(cast("acp.Agent", Robot())))
