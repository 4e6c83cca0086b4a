#!/usr/bin/env python3
"""Health of a container: `healthy.py URL` wants an answer without error, `healthy.py URL PART` also JSON whose PART is healthy.

`healthy.py HOST:PORT` wants a listener.
"""

import json
import socket
import sys
from urllib.request import urlopen


def main(target: str, part: str = "") -> None:
    """Ends with an error where the target is not healthy."""
    if "//" not in target:
        host, port = target.rsplit(":", 1)
        socket.create_connection((host, int(port)), timeout=5).close()
        return
    with urlopen(target, timeout=8) as answer:  # noqa: S310  the address is the image's own
        content = answer.read()
    if part and json.loads(content)[part]["status"] != "healthy":
        raise SystemExit(f"{part} is not healthy: {content.decode()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
