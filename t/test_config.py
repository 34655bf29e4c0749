"""`nginx -t` takes the right values and refuses every wrong one, with file and line."""

import json
import os
import re

import pytest

from support.nginx_conf import FIXTURES, MODULE

BASE = {
    "llm_zone": "llm_zone 16m;",
    "llm_keys": "llm_keys file:{dir}/keys.json;",
    "llm_spool": "llm_spool {dir}/spool;",
    "llm_prices": f"llm_prices {FIXTURES}/prices.json unknown=reject;",
    "llm_provider": "llm_provider mock http://127.0.0.1/v1 dialect=openai api_key=file:{dir}/key;",
    "llm_model_route": "llm_model_route gpt-4o-mini mock;",
}
SINGLE = {"llm_zone", "llm_keys", "llm_redis", "llm_postgres", "llm_spool", "llm_prices"}
SECRET = "s3cr3t"

WRONG = [
    "llm_zone;",
    "llm_zone 1x;",
    "llm_zone -1m;",
    "llm_zone 4k;",
    "llm_zone 16m 32m;",
    "llm_keys {dir}/keys.json;",
    "llm_keys file:;",
    "llm_keys file:{dir}/missing.json;",
    "llm_keys file:{dir}/garbage.json;",
    "llm_keys file:{dir}/keys-unknown-field.json;",
    "llm_keys file:{dir}/keys-twice.json;",
    "llm_keys file:{dir}/keys-bad-window.json;",
    "llm_keys file:{dir}/keys-huge-budget.json;",
    "llm_keys redis:{dir}/keys.json;",
    "llm_redis;",
    "llm_redis 127.0.0.1:6379;",
    "llm_redis http://127.0.0.1:6379/0;",
    "llm_redis redis://127.0.0.1:99999/0;",
    "llm_redis redis://127.0.0.1:6379/x;",
    f"llm_redis redis://user:{SECRET}@127.0.0.1:6379/0 timeout=soon;",
    f"llm_redis redis://:{SECRET}@127.0.0.1:99999/0;",
    "llm_redis redis://127.0.0.1:6379,/0;",
    "llm_redis redis://127.0.0.1:6379,127.0.0.1:0/0;",
    "llm_redis redis+sentinel://127.0.0.1:26379;",
    "llm_redis redis+sentinel://127.0.0.1:26379/budgets/x;",
    "llm_redis redis+sentinel://127.0.0.1:26379/budgets?db=1;",
    f"llm_redis redis+sentinel://:{SECRET}@127.0.0.1/budgets/x?sentinel_password={SECRET};",
    "llm_redis redis://127.0.0.1:6379/0 timeout=0;",
    "llm_redis redis://127.0.0.1:6379/0 on_failure=maybe;",
    "llm_redis redis://127.0.0.1:6379/0 retries=3;",
    "llm_postgres;",
    'llm_postgres "nonsense";',
    f'llm_postgres "host=127.0.0.1 password={SECRET} nonsense=1";',
    'llm_postgres "host=127.0.0.1 dbname=llm" batch=0;',
    'llm_postgres "host=127.0.0.1 dbname=llm" batch=many;',
    'llm_postgres "host=127.0.0.1 dbname=llm" flush=soon;',
    'llm_postgres "host=127.0.0.1 dbname=llm" retention=90m;',
    'llm_postgres "host=127.0.0.1 dbname=llm" retention=0;',
    'llm_postgres "host=127.0.0.1 dbname=llm" retention=36h;',
    'llm_postgres "host=127.0.0.1 dbname=llm" retries=3;',
    "llm_spool;",
    "llm_spool {dir}/spool max_size=big;",
    "llm_spool {dir}/spool max_size=0;",
    "llm_spool {dir}/spool fsync=0;",
    "llm_spool {dir}/spool full=panic;",
    "llm_spool {dir}/spool fsync=sometimes;",
    "llm_spool {dir}/spool refused=never;",
    "llm_spool {dir}/spool colour=red;",
    "llm_spool {dir}/keys.json;",
    "llm_prices;",
    "llm_prices {dir}/missing.json;",
    "llm_prices {dir}/garbage.json;",
    "llm_prices {dir}/negative-price.json;",
    f"llm_prices {FIXTURES}/prices.json unknown=maybe;",
    f"llm_prices {FIXTURES}/prices.json unknown=1;",
    f"llm_prices {FIXTURES}/prices.json unknown=-1/2;",
    f"llm_prices {FIXTURES}/prices.json unknown=1/2/3;",
    f"llm_prices {FIXTURES}/prices.json known=reject;",
    "llm_provider p;",
    "llm_provider p ftp://127.0.0.1/v1 dialect=openai;",
    "llm_provider p 127.0.0.1/v1 dialect=openai;",
    "llm_provider p http:///v1 dialect=openai;",
    "llm_provider p http://127.0.0.1:99999/v1 dialect=openai;",
    "llm_provider p http://127.0.0.1/v1 dialect=klingon;",
    f"llm_provider p http://127.0.0.1/v1 dialect=openai api_key={SECRET};",
    "llm_provider p http://127.0.0.1/v1 dialect=openai api_key=env:LLM_TEST_UNSET;",
    "llm_provider p http://127.0.0.1/v1 dialect=openai api_key=file:{dir}/missing;",
    "llm_provider p http://127.0.0.1/v1 dialect=openai colour=red;",
    "llm_provider mock http://127.0.0.1/v1 dialect=openai;",
    "llm_model_route gpt-4o-mini;",
    "llm_model_route gpt-4o-mini nobody;",
    "llm_model_route gpt-4o-mini mock weight=0;",
    "llm_model_route gpt-4o-mini mock weight=-1;",
    "llm_model_route gpt-4o-mini mock weight=heavy;",
    "llm_model_route gpt-4o-mini mock weight=100000000;",
    "llm_model_route gpt-4o-mini mock model=;",
    "llm_model_route gpt-4o-mini mock colour=red;",
    "llm_model_alias fast;",
    "llm_model_alias fast nothing;",
    "llm_model_alias gpt-4o-mini gpt-4o-mini;",
    "llm_budget global;",
    "llm_budget global 10;",
    "llm_budget global 10usd;",
    "llm_budget global 10eur/1d;",
    "llm_budget global usd/1d;",
    "llm_budget global -5usd/1d;",
    "llm_budget global 1.2.3usd/1d;",
    "llm_budget global 99999999999usd/1d;",
    "llm_budget global 10usd/;",
    "llm_budget global 10usd/0d;",
    "llm_budget global 10usd/1y;",
    "llm_budget global 10usd/367d;",
    "llm_budget global=* 10usd/1d;",
    "llm_budget team 10usd/1d;",
    "llm_budget team= 10usd/1d;",
    "llm_budget planet=* 10usd/1d;",
    "llm_budget team=* 10usd/1d colour=red;",
    "llm_budget global 10usd/1d soft=0%;",
    "llm_budget global 10usd/1d soft=101%;",
    "llm_budget global 10usd/1d soft=80;",
    "llm_budget global 10usd/1d soft=50% soft=60%;",
    "llm_budget global 10usd/1d over=stop;",
    "llm_budget global 10usd/1d over=downgrade:;",
    "llm_budget global 10usd/1d over=downgrade:gpt-17;",
    "llm_budget global 10usd/1d at=50%;",
    "llm_budget global 10usd/1d at=alert;",
    "llm_budget model=gpt-* model= 10usd/1d;",
    "llm_budget by= 10usd/1d;",
    "llm_budget by=* 10usd/1d;",
    "llm_budget by=http_x_app 10usd/1d;",
    "llm_budget model=gpt-17 10usd/1d;",
    "llm_budget key=* model=gpt-17 10usd/1d;",
    "llm_budget key=* model=gpt-4o-mini model=gpt-4* 10usd/1d;",
    "llm_budget global 10usd/1d at=80%:allow at=90%:reject;",
    'llm_budget by="${" 10usd/1d;',
    "llm_model_allow gpt-4o-mini search;",
    "llm_model_allow gpt-4o-mini by=$http_x_app;",
    "llm_model_allow gpt-4o-mini by=http_x_app search;",
    "llm_model_allow gpt-17 by=$http_x_app search;",
    "llm_model_alias fast gpt-4o-mini; llm_model_allow fast by=$http_x_app search;",
    "llm_enforce maybe;",
    "llm_max_output gpt-4*;",
    "llm_max_output gpt-4* 0;",
    "llm_max_output gpt-4* 100 default=101;",
    "llm_max_output gpt-4* many;",
    "llm_max_output gpt-4* 99999999999999999999;",
    "llm_max_output gpt-5* 100;",
    "llm_limit key=*;",
    "llm_limit key=* rpm=;",
    "llm_limit key=* rpm=many;",
    "llm_limit key=* rpm=-1;",
    "llm_limit key=* tpm=1.5k;",
    "llm_limit key=* tpm=1g;",
    "llm_limit key=* tpm=99999999999999999999;",
    "llm_limit key=* parallel=x;",
    "llm_limit key=* speed=3;",
    "llm_limit key=* model=gpt-17 rpm=1;",
    "llm_limit planet=* rpm=1;",
    "llm_limit key rpm=1;",
    "llm maybe;",
    "llm;",
    "llm on off;",
    "llm_client_abort;",
    "llm_client_abort ignore;",
    "llm_client_abort cut timeout=5s;",
    "llm_client_abort drain timeout=0;",
    "llm_client_abort drain max_size=much;",
    "llm_client_abort drain colour=red;",
    "llm_client_abort drain; llm_client_abort cut;",
]

REPEATED = [
    "llm_zone 16m;",
    "llm_keys file:{dir}/keys.json;",
    "llm_spool {dir}/spool;",
    f"llm_prices {FIXTURES}/prices.json;",
]

RIGHT = [
    "llm_zone 64m;",
    "llm_keys file:{dir}/keys.json;",
    "llm_redis redis://127.0.0.1:6379/0;",
    "llm_redis redis://127.0.0.1:6379/0 timeout=50ms on_failure=local;",
    f"llm_redis redis://user:{SECRET}@127.0.0.1:6379/3 on_failure=deny;",
    "llm_redis redis://localhost on_failure=allow;",
    'llm_postgres "host=127.0.0.1 dbname=llm" batch=1000 flush=1s;',
    'llm_postgres "host=127.0.0.1 dbname=llm" retention=90d;',
    f'llm_postgres "host=localhost password={SECRET}";',
    "llm_spool {dir}/spool max_size=4g;",
    "llm_spool {dir}/spool fsync=250ms;",
    "llm_spool {dir}/spool full=drop_oldest;",
    "llm_client_abort drain timeout=5s max_size=100k;",
    "llm_client_abort cut;",
    "llm_spool {dir}/spool full=reject;",
    "llm_spool {dir}/spool fsync=off;",
    "llm_spool {dir}/spool fsync=always;",
    "llm_spool {dir}/spool refused=summed;",
    "llm_spool {dir}/spool refused=each;",
    f"llm_prices {FIXTURES}/prices.json;",
    f"llm_prices {FIXTURES}/prices.json unknown=reject;",
    f"llm_prices {FIXTURES}/prices.json unknown=free;",
    f"llm_prices {FIXTURES}/prices.json unknown=2.5/10;",
    "llm_provider p http://127.0.0.1:8000/v1 dialect=openai;",
    "llm_provider p http://localhost/v1/ dialect=openai api_key=file:{dir}/key;",
    "llm_provider p http://127.0.0.1/v1 dialect=openai api_key=env:LLM_TEST_SECRET;",
    "llm_model_route gpt-4o-mini mock weight=3;",
    "llm_model_route chat mock model=gpt-4o-mini;",
    "llm_model_route gpt-4o-mini mock backup;",
    "llm_model_alias fast gpt-4o-mini;",
    "llm_budget global 5000usd/1mo;",
    "llm_budget team=* 0.000000001usd/30d;",
    "llm_budget team=research 12.34usd/1w;",
    "llm_budget key=* 1usd/1d@UTC;",
    "llm_budget key=tester 1usd/30s;",
    "llm_budget user=* 1usd/5m;",
    "llm_budget org=acme 1usd/1h;",
    "llm_limit key=* rpm=100 tpm=100k parallel=20;",
    "llm_limit team=research tpm=2m;",
    "llm_limit global rpm=10000;",
    "llm_budget team=* model=gpt-4* 1usd/1d soft=80% over=downgrade:gpt-4o-mini;",
    "llm_budget key=* 1usd/1d at=50%:alert at=80%:allow;",
    'llm_budget by="$llm_team:$http_x_app" 10usd/1d;',
    "llm_budget model=* 1usd/1d;",
    "llm_limit customer=* rpm=10;",
    "llm_limit tag=batch model=gpt-4* tpm=10k;",
    "llm_model_allow gpt-4* by=$http_x_app search code-review;",
    "llm_enforce shadow;",
    "llm_max_output gpt-4* 2000 default=500;",
    "llm off;",
]


BAD_WINDOW = {"key": "sk-1", "max_budget": 1, "budget_duration": "1 fortnight"}


@pytest.fixture
def conf(gateway, monkeypatch):
    """A gateway that is only asked for `nginx -t`, with files that the cases refer to."""
    monkeypatch.setenv("LLM_TEST_SECRET", SECRET)
    monkeypatch.delenv("LLM_TEST_UNSET", raising=False)
    one = gateway(start=False)
    files = {
        "key": SECRET,
        "garbage.json": '{"keys": [',
        "keys-unknown-field.json": json.dumps({"keys": [{"key": "sk-1", "max_bugdet": 1}]}),
        "keys-bad-window.json": json.dumps({"keys": [BAD_WINDOW]}),
        "keys-huge-budget.json": json.dumps({"keys": [{"key": "sk-1", "max_budget": 9000001}]}),
        "keys-twice.json": json.dumps({"keys": [{"key": "sk-1"}, {"key": "sk-1"}]}),
        "negative-price.json": json.dumps({"m": {"input_cost_per_token": -1}}),
    }
    for name, content in files.items():
        (one.prefix / name).write_text(content)
    return one


def write(directory, line, repeated=False):
    """A whole configuration with `line` in the http block, in place of its like or as one more."""
    name = re.match(r"\w+", line)[0]
    replaced = name in SINGLE and not repeated
    lines = [text for key, text in BASE.items() if not (replaced and key == name)] + [line]
    http = "\n".join("    " + text.replace("{dir}", str(directory)) for text in lines)
    user = "user root;" if os.geteuid() == 0 else ""
    return (
        f"load_module {MODULE};\n{user}\npid {directory}/nginx.pid;\nevents {{}}\nhttp {{\n"
        f"    access_log off;\n    client_body_temp_path {directory}/tmp/body;\n"
        f"    proxy_temp_path {directory}/tmp/proxy;\n    fastcgi_temp_path {directory}/tmp/f;\n"
        f"    uwsgi_temp_path {directory}/tmp/u;\n    scgi_temp_path {directory}/tmp/s;\n"
        f"{http}\n"
        "    server {\n        listen 127.0.0.1:1;\n"
        "        location /v1/ { llm on; include llm_proxy.conf; }\n"
        "        location @llm_next { llm on; include llm_proxy.conf; }\n    }\n}\n"
    )


def assert_refused(one, text, line):
    number = text.split("\n").index("    " + line.replace("{dir}", str(one.prefix))) + 1
    code, said = one.conf_test(text)
    assert code != 0, said
    assert re.search(rf"\[emerg\] .* in {one.prefix}/nginx\.conf:{number}\b", said), said
    assert SECRET not in said


@pytest.mark.parametrize("line", WRONG)
def test_refused(conf, line):
    assert_refused(conf, write(conf.prefix, line), line)


@pytest.mark.parametrize("line", REPEATED)
def test_refused_when_repeated(conf, line):
    text = write(conf.prefix, line + "  # again", repeated=True)
    assert_refused(conf, text, line + "  # again")


@pytest.mark.parametrize("line", RIGHT)
def test_accepted(conf, line):
    code, said = conf.conf_test(write(conf.prefix, line))
    assert code == 0, said
    assert SECRET not in said


@pytest.mark.parametrize("missing", ["llm_keys", "llm_prices", "llm_spool"])
def test_llm_on_needs(conf, missing):
    text = write(conf.prefix, "llm off;").replace(BASE[missing].format(dir=conf.prefix), "")
    code, said = conf.conf_test(text)
    assert code != 0
    assert re.search(rf'\[emerg\] .*"llm on" needs "{missing}" in {conf.prefix}/nginx\.conf:\d+', said)


def test_satisfy_any_is_refused(conf):
    text = write(conf.prefix, "llm off;").replace("{ llm on;", "{ satisfy any; llm on;")
    code, said = conf.conf_test(text)
    assert code != 0
    assert "satisfy" in said
