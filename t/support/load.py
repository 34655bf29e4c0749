"""Many requests at once."""

import asyncio

import httpx

from support.calls import CHAT
from support.gateway import bearer
from support.nginx_conf import KEY


def fire(gateway, bodies, key=KEY):
    """Sends all of them at once, each on its own connection; returns the responses in order."""

    async def run():
        limits = httpx.Limits(max_connections=len(bodies), max_keepalive_connections=0)
        async with httpx.AsyncClient(
            base_url=gateway.url, headers=bearer(key), limits=limits, timeout=60
        ) as client:
            return await asyncio.gather(*(client.post(CHAT, json=body) for body in bodies))

    return asyncio.run(run())


async def keep_sending(gateway, body, until, seen):
    """Sends one request after the other, each on a new connection, until until() is true.

    Adds the request id to `seen` for each that was answered with 200.
    """
    while not until():
        try:
            async with httpx.AsyncClient(headers=bearer(KEY), timeout=30) as client:
                response = await client.post(gateway.url + CHAT, json=body)
        except httpx.TransportError:
            continue  # its worker was killed
        if response.status_code == 200:
            seen.append(response.headers["x-llm-request-id"])
