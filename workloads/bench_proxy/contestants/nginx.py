"""nginx as Debian has it: one worker, kept connections, no buffering of answers. Knows nothing of agents or engines."""

from __future__ import annotations

import getpass
import os
import shutil
from urllib.parse import urlsplit

from .base import Contestant, NotThere, Place, Start

_CONFIG = """
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 128k;
    client_max_body_size 64m;
    upstream engine {{
        server {engine};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {host}:{port} backlog=4096;
        location / {{
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


def _start(place: Place) -> Start:
    unpacked = place.proxies / "nginx" / "usr" / "sbin" / "nginx"
    installed = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    program = str(unpacked) if unpacked.exists() else installed
    if program is None:
        raise NotThere(
            f"{unpacked} is missing, and no nginx is installed; `make proxies` fetches it from Debian"
        )
    config = place.folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            folder=place.folder,
            # Else the worker of a master that root started is a user who may not write there.
            user=f"user {getpass.getuser()};" if os.geteuid() == 0 else "",
            engine=urlsplit(place.engine_url).netloc,
            host=place.host,
            port=place.port,
        )
    )
    command = [program, "-p", str(place.folder), "-e", "stderr", "-c", str(config)]
    return Start(command, f"http://{place.host}:{place.port}/health")


CONTESTANTS = (Contestant("nginx", _start, about="passes bytes on, and reads nothing of them"),)
