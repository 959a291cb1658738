"""Sends events to shopwire from Python, with nothing but the standard library.

As a program it sends what it reads, one JSON object a line, and says what was refused:

    python3 emitter.py < events.ndjson

As a module:

    with Emitter() as emitter:
        emitter.emit("product:deleted", {"productId": "p-1"})
"""

import json
import os
import socket
import sys
import time
import uuid
from pathlib import Path

# So many events are under way at a time.
BATCH = 500


def default_socket() -> str:
    """WS_SOCKET, else where `shopwire serve` of this user or of the system puts it."""
    if os.environ.get("WS_SOCKET"):
        return os.environ["WS_SOCKET"]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime):
        return f"{runtime}/shopwire.sock"
    if os.path.isdir("/run/shopwire") or (os.getuid() == 0 and os.path.isdir("/run")):
        return "/run/shopwire/shopwire.sock"
    temporary = os.environ.get("TMPDIR", "")
    if not os.path.isabs(temporary):
        temporary = "/tmp"
    return str(Path(temporary, f"shopwire-{os.getuid()}", "shopwire.sock"))


class Refused(Exception):
    """The server does not take an event. `code`, `field` and the sentence are its own."""

    def __init__(self, code: str, message: str, field: str | None = None):
        super().__init__(message)
        self.code = code
        self.field = field


class Emitter:
    """One connection to the server, made when it is needed and again when it is lost. For one thread."""

    def __init__(self, path: str | None = None, timeout: float = 5.0):
        """`timeout`: for how many seconds an event is tried."""
        self.path = path or default_socket()
        self.timeout = timeout
        self._socket: socket.socket | None = None

    def emit(self, type: str, data: dict, **more) -> None:
        """Returns when the server has the event; raises `Refused` or `TimeoutError`. `to`, `timestamp` and `key` as in the protocol."""
        for refused in self.emit_many([{"type": type, "data": data, **more}]).values():
            raise refused

    def emit_many(self, events: list[dict]) -> dict[int, Refused]:
        """Sends events in order and returns the refused ones by their place in the list."""
        # An event that is sent again must not become a second one: the server knows it by its key.
        events = [{"key": str(uuid.uuid4()), **event} for event in events]
        refused: dict[int, Refused] = {}
        for start in range(0, len(events), BATCH):
            batch = range(start, min(start + BATCH, len(events)))
            lines = [json.dumps(events[index], allow_nan=False).encode() + b"\n" for index in batch]
            refused |= {start + index: error for index, error in self._deliver(lines).items()}
        return refused

    def _deliver(self, lines: list[bytes]) -> dict[int, Refused]:
        deadline = time.monotonic() + self.timeout
        pause = 0.05
        while True:
            try:
                return self._attempt(lines, deadline)
            except OSError as error:
                # Whatever was not acknowledged may have been taken or not. The keys make that the same.
                self.close()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"no ack from {self.path} within {self.timeout} s: {error}") from error
                time.sleep(min(pause, left))
                pause *= 2

    def _attempt(self, lines: list[bytes], deadline: float) -> dict[int, Refused]:
        """On a connection of its own count: its lines and the server's numbers for them begin at 1."""
        connection = self._connect(deadline)
        before = self._lines
        connection.sendall(b"".join(lines))
        self._lines += len(lines)
        refused = {}
        while True:
            self._give_until(deadline)
            answer = self._answers.readline()
            if not answer:
                raise ConnectionError("the server has closed the connection")
            answer = json.loads(answer)
            if "error" in answer:
                error = answer["error"]
                refused[error["line"] - before - 1] = Refused(error["code"], error["message"], error.get("field"))
            # One ack settles all lines up to its number.
            elif answer["ack"] >= self._lines:
                return refused

    def _connect(self, deadline: float) -> socket.socket:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._give_until(deadline)
            self._socket.connect(self.path)
            self._answers = self._socket.makefile("rb")
            self._lines = 0
        self._give_until(deadline)
        return self._socket

    def _give_until(self, deadline: float) -> None:
        self._socket.settimeout(max(deadline - time.monotonic(), 0.001))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> "Emitter":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def main() -> int:
    # A blank line is none; anything else that is no JSON object is told by its number, before anything is sent.
    events, places = [], []
    for number, line in enumerate(sys.stdin, 1):
        if line.strip():
            try:
                events.append(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                print(f"line {number} is no JSON object: {error}", file=sys.stderr)
                return 2
            places.append(number)
    try:
        with Emitter() as emitter:
            refused = emitter.emit_many(events)
    except TimeoutError as error:
        print(error, file=sys.stderr)
        return 1
    for index, error in refused.items():
        print(f"line {places[index]}: {error.code}: {error}", file=sys.stderr)
    print(f"{len(events) - len(refused)} of {len(events)} events sent")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
