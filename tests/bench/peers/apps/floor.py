"""The floor of the framework: aiohttp on uvloop answers every GET with the bytes of one file and nothing else."""

import os
from pathlib import Path

import uvloop
from aiohttp import web

BODY = Path(os.environ["PEER_BODY"]).read_bytes()


async def answer(_: web.Request) -> web.Response:
    return web.Response(body=BODY, content_type="application/json")


if __name__ == "__main__":
    uvloop.install()
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    web.run_app(app, host="127.0.0.1", port=int(os.environ["PEER_PORT"]), access_log=None, print=None)
