"""What a disk whose every sync takes half a second (slow_sync.c) holds."""

from support.gateway import parse_row


def synced(log):
    """The largest synced size of each file, by inode."""
    sizes = {}
    for line in log.read_text().splitlines():
        inode, size = map(int, line.split())
        sizes[inode] = max(size, sizes.get(inode, 0))
    return sizes


def rows_on_disk(one, log):
    """The request ids of the rows whose last byte is on disk."""
    ids = set()
    sizes = synced(log)
    for path in (one.prefix / "spool").glob("*.jsonl"):
        on_disk = path.read_bytes()[: sizes.get(path.stat().st_ino, 0)]
        ids |= {parse_row(line)["request_id"] for line in on_disk.split(b"\n")[:-1]}
    return ids
