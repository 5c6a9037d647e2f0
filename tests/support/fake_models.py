"""A model server on 127.0.0.1 for real agents: Anthropic, OpenAI and Gemini, scripted by prompts.

Run ``python -m tests.support.fake_models`` to try an agent by hand: it prints where it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from tests.support import fake_anthropic, fake_gemini, fake_openai


class FakeModels:
    """A running server. ``unknown`` are requests it had no answer for.

    ``keys`` are the headers of requests that say whose they are.
    """

    def __init__(self) -> None:
        self.url = ""
        self.unknown: list[str] = []
        self.keys: set[tuple[str, str]] = set()

    def settings(self) -> dict[str, str]:
        """Return what to set for the agents so that they talk to this server."""
        paths = {"CLAUDE": "/anthropic", "CODEX": "/openai/v1", "GEMINI": "/gemini"}
        found: dict[str, str] = {}
        for name, path in paths.items():
            found[f"PANDAR_AGENT_{name}_BASE_URL"] = self.url + path
            found[f"PANDAR_AGENT_{name}_API_KEY"] = "no-key-at-all"
        return found | {"PANDAR_AGENT_CODEX_MODEL": "gpt-5"}

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=64 * 2**20, middlewares=[self._note])
        app.router.add_post("/anthropic/v1/messages", fake_anthropic.messages)
        app.router.add_post("/anthropic/v1/messages/count_tokens", fake_anthropic.count_tokens)
        app.router.add_post("/openai/v1/responses", fake_openai.responses)
        app.router.add_post("/gemini/{version}/models/{model}", fake_gemini.generate)
        app.router.add_route("*", "/{tail:.*}", self._other)
        return app

    @web.middleware
    async def _note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.keys |= {
            (name, request.headers[name])
            for name in ("Authorization", "X-Api-Key", "X-Goog-Api-Key")
            if name in request.headers
        }
        return await handler(request)

    async def _other(self, request: web.Request) -> web.Response:
        self.unknown.append(f"{request.method} {request.path}")
        if request.path.endswith("/models"):
            return web.json_response({"object": "list", "data": [], "models": []})
        return web.json_response({"error": {"message": "not scripted"}}, status=404)


@asynccontextmanager
async def fake_models() -> AsyncIterator[FakeModels]:
    """Serve on a free port of 127.0.0.1."""
    models = FakeModels()
    runner = web.AppRunner(models.app(), shutdown_timeout=0.2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        models.url = f"http://{host}:{port}"
        yield models
    finally:
        await runner.cleanup()


async def _serve() -> None:
    async with fake_models() as models:
        print(models.url, flush=True)  # noqa: T201 - a program for people
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
