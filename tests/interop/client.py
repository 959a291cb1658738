"""A client made with Python's `websockets`: connects, authenticates, subscribes to orders, prints every message as a line,
and closes after the first order:created. Arguments: URL, token, and the way the token is shown (header, subprotocol, message).
"""

import json
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main(url: str, token: str, way: str) -> None:
    subprotocols = ["shopwire.v1", f"token.{token}"] if way == "subprotocol" else None
    headers = {"Authorization": f"Bearer {token}"} if way == "header" else None
    socket = connect(url, subprotocols=subprotocols, additional_headers=headers, proxy=None)
    try:
        for text in socket:
            print(text, flush=True)
            kind = json.loads(text)["type"]
            if kind == "welcome" and way == "message":
                socket.send(json.dumps({"type": "auth", "data": {"token": token}}))
            if kind == "authenticated":
                socket.send(json.dumps({"type": "subscribe", "data": {"namespaces": ["orders"]}}))
            if kind == "order:created":
                socket.close(1000, "seen")
    except ConnectionClosed:
        pass
    print(json.dumps({"type": "closed", "code": socket.close_code, "protocol": socket.subprotocol or ""}), flush=True)


main(*sys.argv[1:4])
