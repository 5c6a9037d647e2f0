"""How much of everything a run does."""

from __future__ import annotations

from msgspec import Struct


class Scale(Struct, frozen=True, kw_only=True):
    """The size of a run; more makes figures steadier, not different."""

    append_sec: float  # of one contender at one level
    append_rounds: int
    steady_sec: float  # of appending without a pause
    log_tasks: int  # lives of five events in the log that is read again
    live_sec: float
    live_rate: int  # events/s
    life_tasks: int
    spawns: int
    asks: int
    output_mib: int
    idle_sec: float
    consents: int
    turns: int  # of each kind
    turn_words: int
    parked: int
    peer_tasks: int  # of one contender in one turn
    peer_rounds: int
    crowd_clients: int  # a multiple of 500: ten projects, 50 streams a user
    crowd_runners: int  # of 10 slots each
    crowd_rest_sec: float
    tunnel_mib: int
    tunnel_rounds: int
    tunnel_requests: int
    redact_mb: int
    clone_files: int
    clone_rounds: int
    boxes: int  # of each level


FULL = Scale(
    append_sec=3.0,
    append_rounds=3,
    steady_sec=20.0,
    log_tasks=10_000,
    live_sec=10.0,
    live_rate=500,
    life_tasks=1_000,
    spawns=500,
    asks=300,
    output_mib=48,
    idle_sec=20.0,
    consents=100,  # an attempt may ask no more
    turns=40,
    turn_words=5_000,
    parked=200,
    peer_tasks=1_000,
    peer_rounds=11,
    crowd_clients=1_000,
    crowd_runners=50,
    crowd_rest_sec=5.0,
    tunnel_mib=512,
    tunnel_rounds=5,
    tunnel_requests=300,
    redact_mb=64,
    clone_files=10_000,
    clone_rounds=5,
    boxes=30,
)

QUICK = Scale(
    append_sec=0.6,
    append_rounds=1,
    steady_sec=4.0,
    log_tasks=2_000,
    live_sec=3.0,
    live_rate=500,
    life_tasks=150,
    spawns=100,
    asks=50,
    output_mib=16,
    idle_sec=5.0,
    consents=50,
    turns=5,
    turn_words=2_000,
    parked=32,
    peer_tasks=100,
    peer_rounds=1,
    crowd_clients=500,
    crowd_runners=5,
    crowd_rest_sec=2.0,
    tunnel_mib=128,
    tunnel_rounds=3,
    tunnel_requests=50,
    redact_mb=16,
    clone_files=1_000,
    clone_rounds=2,
    boxes=10,
)
