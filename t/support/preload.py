"""Functions of the C library that a test puts in the place of nginx's own."""

import subprocess

from support import gateway
from support.paths import PRELOAD, TESTS


def preload(monkeypatch, directory, source, **paths):
    """Gateways of this test run with support/<source>; `paths` are macros of it, each a path."""
    library = (directory / source).with_suffix(".so")
    macros = [f'-D{name}="{path}"' for name, path in paths.items()]
    command = ["cc", "-shared", "-fPIC", "-O1", *macros, TESTS / "support" / source, "-o", library]
    subprocess.run(command, check=True)
    monkeypatch.setattr(gateway, "PRELOAD", f"{PRELOAD} {library}".strip())
