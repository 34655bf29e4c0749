"""The nginx.conf of a test's gateway, from settings with defaults."""

import dataclasses
import json
import os
import re

from support.paths import FIXTURES, MODULE, ROOT

KEY = "sk-test-5f4dcc3b5aa765d61d8327deb882cf99"
KEY_RECORD = {"key": KEY, "alias": "tester", "team": "qa", "user": "alice", "org": "acme"}
PROVIDER_SECRET = "sk-provider-secret"

TEMPLATE = """\
load_module {module};
{user}
worker_processes {workers};
pid {prefix}/nginx.pid;
error_log {prefix}/error.log info;
events {{ worker_connections 1024; }}
http {{
    log_format test '$pid $status $request_uri $llm_request_id';
    access_log {prefix}/access.log test;
    client_body_temp_path {prefix}/tmp/body;
    proxy_temp_path {prefix}/tmp/proxy;
    fastcgi_temp_path {prefix}/tmp/fastcgi;
    uwsgi_temp_path {prefix}/tmp/uwsgi;
    scgi_temp_path {prefix}/tmp/scgi;
    keepalive_requests 100000;
{directives}
    server {{
        listen 127.0.0.1:{port}{reuseport};
        listen 127.0.0.1:{port_h2} http2;
{server}
        location /v1/ {{ llm on; include llm_proxy.conf; }}
        location @llm_next {{ llm on; include llm_proxy.conf; }}
    }}
}}
"""


@dataclasses.dataclass
class Settings:
    """What a test may choose; lists hold the arguments of one directive each."""

    workers: int = 1
    keys: list | dict = dataclasses.field(default_factory=lambda: [KEY_RECORD])
    providers: list = dataclasses.field(default_factory=list)
    routes: list = dataclasses.field(
        default_factory=lambda: [
            "gpt-4o-mini mock",
            "gpt-3.5-turbo-instruct mock",
            "text-embedding-3-small mock",
            "output-only mock",
        ]
    )
    aliases: list = dataclasses.field(default_factory=list)
    budgets: list = dataclasses.field(default_factory=list)
    limits: list = dataclasses.field(default_factory=list)
    zone: str = "16m"
    spool_options: str = ""
    redis: str = ""  # arguments of llm_redis
    postgres: str = ""  # a conninfo
    postgres_options: str = "batch=100 flush=100ms"
    prices: str = f"{FIXTURES}/prices.json unknown=reject"
    http: str = ""  # further directives of the http block
    server: str = ""  # further directives of the server
    proxy: dict = dataclasses.field(default_factory=dict)  # replaced directives of llm_proxy.conf
    reuseport: bool = False  # spreads connections over the workers


def provider(name, url):
    """The arguments of llm_provider; the file of the secret is written by write_files()."""
    return f"{name} {url}/v1 dialect=openai api_key=file:provider.key"


def write_files(prefix, settings):
    """What the configuration refers to."""
    for directory in ("tmp", "spool"):
        (prefix / directory).mkdir(exist_ok=True)
    keys = settings.keys if isinstance(settings.keys, dict) else {"keys": settings.keys}
    (prefix / "keys.json").write_text(json.dumps(keys))
    (prefix / "provider.key").write_text(PROVIDER_SECRET + "\n")
    text = (ROOT / "conf/llm_proxy.conf").read_text()
    for name, value in settings.proxy.items():
        text = re.sub(rf"(?m)^\s*{name}\s.*$", "", text) + f"\n{name} {value};\n"
    (prefix / "llm_proxy.conf").write_text(text)


def render(prefix, settings, port, port_h2):
    lines = [f"llm_zone {settings.zone}", f"llm_keys file:{prefix}/keys.json", f"llm_spool {prefix}/spool {settings.spool_options}"]
    lines += [f"llm_prices {settings.prices}"]
    if settings.redis:
        lines.append(f"llm_redis {settings.redis}")
    if settings.postgres:
        lines.append(f'llm_postgres "{settings.postgres}" {settings.postgres_options}')
    secret = f"api_key=file:{prefix}/provider.key"
    for line in settings.providers:
        lines.append("llm_provider " + line.replace("api_key=file:provider.key", secret))
    for name in ("model_route", "model_alias", "budget", "limit"):
        attribute = {"model_route": "routes", "model_alias": "aliases"}.get(name, name + "s")
        lines += [f"llm_{name} {arguments}" for arguments in getattr(settings, attribute)]
    return TEMPLATE.format(
        module=MODULE,
        user="user root;" if os.geteuid() == 0 else "",
        workers=settings.workers,
        prefix=prefix,
        port=port,
        port_h2=port_h2,
        reuseport=" reuseport" if settings.reuseport else "",
        directives="\n".join(f"    {line};" for line in lines) + "\n" + settings.http,
        server=settings.server,
    )
