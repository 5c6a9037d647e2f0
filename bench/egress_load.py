"""Both ends of what goes through a proxy, in a process of their own: ``SOURCE_FD PROXY_PORT JSON``.

Each figure is taken with and without the proxy by turns; they are printed as JSON, in seconds.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

CHUNK = 2**18
LOCAL = "127.0.0.1"
END = b"\r\n\r\n"
HOST = "source.test"


def serve(listener: socket.socket) -> None:
    """Answer requests for ``/N`` with N bytes, one thread a connection, for ever."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        while head := _head(connection):
            size = int(head.split()[1].rpartition(b"/")[2])
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for at in range(0, size, CHUNK):
                connection.sendall(bytes(min(CHUNK, size - at)))


def _head(connection: socket.socket) -> bytes:
    head = b""
    while END not in head:
        data = connection.recv(CHUNK)
        if not data:
            return b""
        head += data
    return head


def direct(port: int, target: str) -> socket.socket:
    """Return a connection on which a request for ``target`` was made."""
    return _asked(socket.create_connection((LOCAL, port)), target)


def tunnel(proxy: int, port: int, target: str) -> socket.socket:
    """Return a tunnel on which a request was made."""
    connection = socket.create_connection((LOCAL, proxy))
    connection.sendall(f"CONNECT {HOST}:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    _head(connection)
    return _asked(connection, target)


def _asked(connection: socket.socket, target: str) -> socket.socket:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return connection


def fetched(connection: socket.socket, size: int) -> None:
    """Read at least ``size`` bytes, and close."""
    with connection:
        buffer = bytearray(CHUNK)
        while size > 0 and (read := connection.recv_into(buffer)):
            size -= read


def taken(connect: Callable[[], socket.socket], size: int) -> float:
    """Return what a connection and all its bytes took."""
    began = time.perf_counter()
    fetched(connect(), size)
    return time.perf_counter() - began


def main(source_fd: int, proxy: int, scale: dict[str, int]) -> dict[str, list[float]]:
    """Return what was measured, by ``size_way``."""
    listener = socket.socket(fileno=source_fd)
    listener.settimeout(None)
    port = listener.getsockname()[1]
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    ways: dict[str, Callable[[str], socket.socket]] = {
        "bare": lambda target: direct(port, target),
        "tunnel": lambda target: tunnel(proxy, port, target),
        "http": lambda target: direct(proxy, f"http://{HOST}:{port}{target}"),
        "model": lambda target: direct(proxy, f"/pandar/model{target}"),
    }
    found: dict[str, list[float]] = {}
    for size, rounds in ((scale["bytes"], scale["rounds"]), (1, scale["requests"])):
        for _ in range(rounds):
            for name, way in ways.items():
                seconds = taken(lambda way=way, size=size: way(f"/{size}"), size)  # type: ignore[misc]
                found.setdefault(f"{'much' if size > 1 else 'little'}_{name}", []).append(seconds)
    return found


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))))
