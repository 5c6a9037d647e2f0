"""A tab of a browser, and whoever sits before it: they look, press and type."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

Json = Any
PATIENCE_SEC = 30.0
PHONE = (390, 844)
DESK = (1280, 800)
KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Space": (32, " "),
    "ArrowDown": (40, ""),
}
STILL = """new Promise((done) => {
    let last = -1, frames = 0;
    const look = () => {
        const now = scrollY + visualViewport.pageTop;
        frames = now === last ? frames + 1 : 0;
        last = now;
        frames > 5 ? done(true) : requestAnimationFrame(look);
    };
    look();
})"""
"""Is there once the page does not move any more."""


class Pipe:
    """The connection to a browser; each page of it is a session."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Json]] = {}
        self.hearers: dict[str, Callable[[str, Json], None]] = {}

    async def run(self) -> None:
        """Take in what the browser says, until it ends."""
        async for message in self._socket:
            said = msgspec.json.decode(message.data)
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
            elif hearer := self.hearers.get(said.get("sessionId", "")):
                hearer(said["method"], said["params"])

    async def ask(self, method: str, session: str = "", **params: object) -> Json:
        """Return the result of a command; fails when the browser refuses it."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        body = {"id": number, "method": method, "params": params}
        body |= {"sessionId": session} if session else {}
        await self._socket.send_str(msgspec.json.encode(body).decode())
        async with asyncio.timeout(PATIENCE_SEC):
            said = await self._answers[number]
        assert "error" not in said, (method, params, said["error"])
        return said["result"]


class Page:
    """A tab, and whoever sits before it."""

    def __init__(self, pipe: Pipe, session: str, *, script: bool) -> None:
        self._script = script
        self._pipe = pipe
        self._session = session
        self._loaded = asyncio.Event()
        self._requested: dict[str, str] = {}
        self.problems: list[str] = []
        self.statuses: dict[str, int] = {}
        pipe.hearers[session] = self._hear

    def _hear(self, method: str, params: Json) -> None:
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.responseReceived":
                self.statuses[params["response"]["url"]] = params["response"]["status"]
            case "Runtime.exceptionThrown":
                self.problems.append(str(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
                self.problems.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in {"error", "warning"}:
                self.problems.append(f"{params['entry']['text']} {params['entry'].get('url')}")

    async def ask(self, method: str, **params: object) -> Json:
        """Return the result of a command of the protocol."""
        return await self._pipe.ask(method, self._session, **params)

    async def opened(self, size: tuple[int, int], *, dark: bool) -> None:
        """Make it a phone or a desk's screen."""
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Accessibility"):
            await self.ask(f"{domain}.enable")
        width, height = size
        await self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if size == PHONE else 1,
            mobile=size == PHONE,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", features=[scheme])
        await self.ask("Emulation.setScriptExecutionDisabled", value=not self._script)

    # --- looking ---

    async def goto(self, url: str) -> int:
        """Open an address, and return the status it is answered with."""
        async with self.loading():
            await self.ask("Page.navigate", url=url)
        return self.statuses[url]

    @asynccontextmanager
    async def loading(self) -> AsyncIterator[None]:
        """Return once a page that was asked for inside has come."""
        self._loaded.clear()
        yield
        async with asyncio.timeout(PATIENCE_SEC):
            await self._loaded.wait()

    async def run(self, expression: str) -> Json:
        """Return the value of an expression of JavaScript, awaited."""
        told = await self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, condition: str) -> None:
        """Return once an expression of JavaScript is true, looking when the page changes."""
        await self.run(
            f"""new Promise((done) => {{
                const look = () => {{ if ({condition}) done(true); }};
                const all = {{ subtree: true, childList: true, characterData: true,
                               attributes: true }};
                new MutationObserver(look).observe(document, all);
                look();
            }})"""
        )

    async def text(self, selector: str = "body") -> str:
        """Return what stands in an element."""
        html = (await self.ask("DOM.getOuterHTML", nodeId=await self._node(selector)))["outerHTML"]
        return str(html)

    async def _node(self, selector: str) -> int:
        root = (await self.ask("DOM.getDocument"))["root"]["nodeId"]
        found = await self.ask("DOM.querySelector", nodeId=root, selector=selector)
        assert found["nodeId"], f"there is no {selector}"
        return int(found["nodeId"])

    async def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Keep a picture of what is seen, or of the whole page."""
        shot = await self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))

    async def accessible(self) -> list[Json]:
        """Return what a screen reader knows of: ``{role, name}`` of each node."""
        nodes = (await self.ask("Accessibility.getFullAXTree"))["nodes"]
        return [
            {
                "role": node["role"]["value"],
                "name": node.get("name", {}).get("value", ""),
                "live": [
                    p["value"]["value"] for p in node.get("properties", []) if p["name"] == "live"
                ],
            }
            for node in nodes
            if not node.get("ignored")
        ]

    # --- doing ---

    async def click(self, selector: str) -> None:
        """Press the middle of an element with the mouse, wherever on the page it is."""
        node = await self._node(selector)
        await self.ask("DOM.scrollIntoViewIfNeeded", nodeId=node)
        if self._script:
            await self.run(STILL)
        quad = (await self.ask("DOM.getContentQuads", nodeId=node))["quads"][0]
        x, y = sum(quad[0::2]) / 4, sum(quad[1::2]) / 4
        if self._script:
            hit = f"document.elementFromPoint({x}, {y}).closest({selector!r}) !== null"
            assert await self.run(hit), f"something else is over {selector}"
        for kind in ("mousePressed", "mouseReleased"):
            await self.ask(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    async def type(self, text: str) -> None:
        """Type into what has the focus."""
        await self.ask("Input.insertText", text=text)

    async def press(self, key: str) -> None:
        """Press a key."""
        code, text = KEYS[key]
        named = {"key": " " if key == "Space" else key, "code": key}
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            await self.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                windowsVirtualKeyCode=code,
                **named,
                **typed,
            )
