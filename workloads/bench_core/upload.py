"""Sends a bulk update from a process of its own, so that the loop it is sent to does not do the sending as well: URL of the
proxy's admin listener, name of the simulation; the body comes on standard input. Prints the status and the seconds from the first
byte to the answer."""

from __future__ import annotations

import sys
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit


def main(url: str, path: str) -> None:
    body = sys.stdin.buffer.read()
    connection = HTTPConnection(urlsplit(url).netloc, timeout=120)
    connection.connect()
    began = time.monotonic()
    connection.request("POST", path, body, {"content-type": "application/x-ndjson"})
    answer = connection.getresponse()
    said = answer.read()
    print(answer.status, time.monotonic() - began)
    if answer.status != 200:
        print(said.decode(errors="replace")[:500])


if __name__ == "__main__":
    main(*sys.argv[1:])
