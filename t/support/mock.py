"""The mock provider as a subprocess."""

import json
import subprocess
import urllib.request

from support.paths import ROOT


class MockProvider:
    def __init__(self):
        command = [ROOT / "scripts/mock-provider", "--port", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self._process.stdout.readline().split()[-1]  # http://127.0.0.1:<port>
        self.port = int(self.url.rpartition(":")[2])

    def stop(self):
        self._process.terminate()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def _call(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.url + path, data=data, timeout=10) as response:
            return json.load(response)

    def reset(self):
        self._call("/__reset", {})

    def behave(self, **controls):
        """How every later request is answered, until the next reset() or behave()."""
        self._call("/__behave", controls)

    def requests(self):
        """What was received: dicts of method, path, headers, body, received_at, sent, …"""
        return self._call("/__requests")["requests"]

    def count(self):
        return self._call("/__requests")["count"]
