"""What the proxy of boxes costs: bytes through a tunnel and small requests, against none."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Sequence

import msgspec

from bench.egress_load import HOST, LOCAL
from bench.figures import Figure, at_least, at_most, ratio, typical
from bench.scale import Scale
from events.calls import Rules, ToolCall
from pandar_daemon.adapters.egress.proxy import EgressProxy
from pandar_daemon.ports import Blocked, Outward, Permission, Upstream

PART = "egress"
MIB = 2**20


async def measure(scale: Scale) -> list[Figure]:
    """Return what a process gets through a proxy in this one, and without it."""
    source, door = _listening(), _listening()
    host = f"{HOST}:{source.getsockname()[1]}"
    upstream = Upstream(base_url=f"http://{host}", headers={"X-Api-Key": "not-a-real-key"})
    outward = Outward(
        hosts=(host,),
        private_hosts=(host,),
        rules=Rules(policy="auto"),
        models={"model": upstream},
    )
    size = scale.tunnel_mib * MIB
    given = {"bytes": size, "rounds": scale.tunnel_rounds, "requests": scale.tunnel_requests}
    port = door.getsockname()[1]
    async with EgressProxy(resolve=_resolve).serving(door, outward, _inquire, _blocked):
        command = (sys.executable, "-m", "bench.egress_load", str(source.fileno()), str(port))
        process = await asyncio.create_subprocess_exec(
            *command, json.dumps(given), pass_fds=[source.fileno()], stdout=asyncio.subprocess.PIPE
        )
        told, _ = await process.communicate()
    source.close()
    return _figures(msgspec.json.decode(told, type=dict[str, list[float]]), size)


def _figures(found: dict[str, list[float]], size: int) -> list[Figure]:
    rate = {name: size / MIB / typical(found[f"much_{name}"]) for name in _WAYS}
    p50 = {name: 1_000 * typical(found[f"little_{name}"]) for name in _WAYS}
    bare = rate["bare"]
    many = [
        Figure(
            part=PART,
            what=f"{said}, of a bare loopback connection",
            value=ratio(rate[name], bare),
            unit="x",
            goal=at_least(0.15) if name == "tunnel" else None,
            note=f"{rate[name]:,.0f} MiB/s of {bare:,.0f}",
        )
        for name, said in _SAID.items()
    ]
    few = [
        Figure(
            part=PART,
            what=f"{said}, a small request more than bare p50",
            value=p50[name] - p50["bare"],
            unit="ms",
            goal=at_most(20),
            note=f"{p50[name]:.2f} ms, bare {p50['bare']:.2f} ms",
        )
        for name, said in _SAID.items()
    ]
    return [*many, *few]


_SAID = {"tunnel": "tunnel", "http": "plain http", "model": "door of a model"}
_WAYS = ("bare", *_SAID)


def _listening() -> socket.socket:
    made = socket.socket()
    made.bind((LOCAL, 0))
    made.listen(100)
    made.settimeout(0)
    return made


async def _resolve(_host: str, _port: int) -> Sequence[str]:
    return [LOCAL]


async def _inquire(_call: ToolCall, _why: str) -> Permission:
    return Permission(allowed=False)


async def _blocked(attempt: Blocked) -> None:
    raise AssertionError(attempt)
