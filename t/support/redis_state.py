"""What the ledger has in Redis, read as src/ledger/redis_script.hpp describes it."""

import struct

PREFIX = "llm:{l}:"


def numbers(client, name):
    value = client.get(PREFIX + name) or b""
    return struct.unpack(f"<{len(value) // 8}d", value)


def budget(client, name):
    """What a budget's counter has used: nano-USD."""
    return int(numbers(client, name)[2]) if client.exists(PREFIX + name) else 0


def rate(client, name):
    return int(sum(numbers(client, name)[1:]))


def slots(client, name):
    """Parallel slots by worker."""
    return {int(worker): int(n) for worker, n in zip(*[numbers(client, name)[i::3] for i in (1, 3)])}


def counters(client):
    """The counters' names."""
    names = [key.decode().removeprefix(PREFIX) for key in client.keys(PREFIX + "*")]
    return sorted(n for n in names if not n.startswith(("hold:", "lease:", "epoch", "restorer")))


def open_holds(client):
    keys = client.keys(PREFIX + "hold:*")
    return [key for key, value in zip(keys, client.mget(keys) if keys else []) if value not in (None, b"done")]
