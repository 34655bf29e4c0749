"""What we show works: conf/gateway.conf and every nginx snippet of the documentation."""

import json
import os
import re
import subprocess

import httpx
import pytest

from support.calls import CHAT, chat
from support.gateway import Gateway
from support.nginx_conf import KEY, KEY_RECORD, MODULE, Settings
from support.paths import ROOT, program
from support.waiting import wait_until

NOWHERE = "http://127.0.0.1:9"  # for providers that are never asked
PAGES = ["README.md", "docs/directives.md", "docs/variables.md", "docs/operations.md"]

# What a snippet of the http block needs besides itself, unless it has its like.
BASE = [
    ("llm_keys ", "llm_keys file:/etc/nginx/llm/keys.json;"),
    ("llm_prices ", "llm_prices /etc/nginx/llm/model_prices.json;"),
    ("llm_spool ", "llm_spool /var/lib/nginx/llm;"),
    ("llm_provider openai ", f"llm_provider openai {NOWHERE}/v1;"),
    ("llm_provider openai-eu ", f"llm_provider openai-eu {NOWHERE}/v1;"),
    ("llm_model_route gpt-4o-mini ", "llm_model_route gpt-4o-mini openai;"),
    ("llm_model_route claude-opus", "llm_model_route claude-opus-5 openai;"),
    (
        "server {",
        "server { listen 4000;\n"
        "    location /v1/ { llm on; include /etc/nginx/llm/llm_proxy.conf; }\n"
        "    location @llm_next { llm on; include /etc/nginx/llm/llm_proxy.conf; } }",
    ),
]


class Example(Gateway):
    """A gateway whose nginx.conf is one of ours as shown, but for its paths and addresses."""

    def __init__(self, prefix, text, provider=NOWHERE, redis="127.0.0.1", postgres=None):
        super().__init__(prefix, Settings(workers=1))
        self._provider, self._redis, self._postgres = provider, redis, postgres
        self.text = self._moved(text)

    def _moved(self, text):
        user = "root" if os.geteuid() == 0 else "nobody"  # only root may change it, or needs to
        for pattern, here in [
            (r"modules/ngx_http_llm_module\.so", str(MODULE)),
            (r"user www-data;", f"user {user};"),
            (r"worker_processes auto;", "worker_processes 1;"),
            (r"/run/nginx\.pid", f"{self.prefix}/nginx.pid"),
            (r"/var/log/nginx/", f"{self.prefix}/"),
            (r"/var/lib/nginx/llm\b", f"{self.prefix}/spool"),
            (r"/etc/nginx/llm/", f"{self.prefix}/"),
            (r"https://[a-z.-]+/", f"{self._provider}/"),
            (r"redis\.internal(:6379)?", self._redis),
            (r"postgres\.internal", "127.0.0.1"),
            (r"listen \S*?\d+\b", f"listen 127.0.0.1:{self.port}"),
            (r"http \{\n", f"http {{\n{self._temp_paths()}"),
        ]:
            text = re.sub(pattern, lambda _, here=here: here, text)
        if self._postgres:
            text = re.sub(r'llm_postgres "[^"]*"', f'llm_postgres "{self._postgres}"', text)
        return text

    def _temp_paths(self):
        kinds = {"client_body": "body"} | {k: k for k in ("proxy", "fastcgi", "uwsgi", "scgi")}
        lines = [f"{k}_temp_path {self.prefix}/tmp/{name};" for k, name in kinds.items()]
        return "".join(f"    {line}\n" for line in lines)

    def configure(self, **changes):
        (self.prefix / "tmp").mkdir(exist_ok=True)
        (self.prefix / "nginx.conf").write_text(self.text)
        (self.prefix / "keys.json").write_text(json.dumps({"keys": [KEY_RECORD]}))
        for name in ("model_prices.json", "llm_proxy.conf"):
            (self.prefix / name).write_bytes((ROOT / "conf" / name).read_bytes())
        for name in ("openai.key", "anthropic.key"):
            (self.prefix / name).write_text("sk-not-a-key\n")
        make_certificate(self.prefix)

    def assert_accepted(self):
        done = self.run_test()
        assert done.returncode == 0, done.stderr + self.text


def make_certificate(directory):
    command = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=llm.example.com", "-keyout", directory / "tls.key"]
    command += ["-out", directory / "tls.crt"]
    subprocess.run(command, check=True, capture_output=True)


def snippets():
    """Every ```nginx block: its page and first line, and its text."""
    for page in PAGES:
        text = (ROOT / page).read_text()
        for found in re.finditer(r"^```nginx\n(.*?)^```$", text, re.M | re.S):
            line = text.count("\n", 0, found.start()) + 1
            yield pytest.param(found[1], id=f"{page}:{line}")


def whole(snippet):
    if "load_module" in snippet:
        return snippet
    lines = [line for like, line in BASE if not re.search(rf"(?m)^\s*{like}", snippet)]
    return (
        "load_module modules/ngx_http_llm_module.so;\nuser www-data;\npid /run/nginx.pid;\n"
        "error_log /var/log/nginx/error.log;\nevents {}\nhttp {\n"
        "access_log /var/log/nginx/access.log;\n" + snippet + "\n".join(lines) + "\n}\n"
    )


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_EU_API_KEY"):
        monkeypatch.setenv(name, "sk-not-a-key")


@pytest.mark.parametrize("snippet", list(snippets()))
def test_snippet(tmp_path, snippet):
    one = Example(tmp_path, whole(snippet))
    one.configure()
    one.assert_accepted()


def test_keys_file(tmp_path):
    page = (ROOT / "docs/directives.md").read_text()
    one = Example(tmp_path, whole(""))
    one.configure()
    (tmp_path / "keys.json").write_text(re.search(r"```json\n(.*?)```", page, re.S)[1])
    one.assert_accepted()


def test_gateway_conf(tmp_path):
    one = Example(tmp_path, (ROOT / "conf/gateway.conf").read_text())
    one.configure()
    one.assert_accepted()


def test_gateway_conf_serves(tmp_path, mock, redis, postgres):
    text = (ROOT / "conf/gateway.conf").read_text()
    address = f"127.0.0.1:{redis.port}"
    one = Example(tmp_path, text, mock.url, address, postgres.conninfo).start()
    try:
        url = f"https://127.0.0.1:{one.port}"
        bearer = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(http2=True, verify=False, base_url=url, headers=bearer) as client:
            answer = client.post(CHAT, json=chat(model="fast"))
        assert answer.status_code == 200, answer.text
        assert answer.http_version == "HTTP/2"
        row = postgres.wait_rows(1)[0]
        assert (row["requested_model"], row["model"]) == ("fast", "gpt-4o-mini")
        assert row["usage_source"] == "reported" and row["cost_nano_usd"] > 0
        counted = lambda: any(b"global:usd:1mo" in key for key in redis.client.keys("llm:*"))  # noqa: E731
        wait_until(counted, "Redis has counted it")
        logged = json.loads((tmp_path / "llm.log").read_text())
        assert logged["id"] == str(row["request_id"]) and logged["decision"] == "admitted"
    finally:
        one.stop()
    assert not one.alarms()
