"""Where things are."""

import os
import pathlib
import shutil

TESTS = pathlib.Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
FIXTURES = TESTS / "fixtures"
MODULE = pathlib.Path(os.environ.get("LLM_MODULE", ROOT / "build/gcc/ngx_http_llm_module.so"))
# A sanitizer's runtime, which a stock nginx has to be started with (make sanitize).
PRELOAD = os.environ.get("LLM_PRELOAD", "")
NODE_DIR = ROOT / "build/node"  # run-tests installs t/package.json there


def program(name, *places):
    """The path of an installed program; sbin directories may be missing in PATH."""
    search = os.pathsep.join([*places, os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(name, path=search)
    if not found:
        raise FileNotFoundError(f"{name} is not installed: run scripts/bootstrap test")
    return found
