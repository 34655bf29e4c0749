"""Who is let in: keys, their models, and what they may list."""

import hashlib

import httpx
import pytest

from support.calls import CHAT, assert_anthropic_error, assert_openai_error, chat
from support.gateway import bearer
from support.nginx_conf import KEY, KEY_RECORD, PROVIDER_SECRET

HASHED = "sk-stored-as-a-hash"
KEYS = [
    KEY_RECORD,
    {"key": "sk-expired", "alias": "old", "expires": "2020-01-01T00:00:00Z"},
    {"key": "sk-valid-yet", "alias": "valid", "expires": "2099-01-01T00:00:00Z"},
    {"key": "sk-blocked", "alias": "blocked", "blocked": True},
    {"key": "sk-of-blocked-team", "alias": "member", "team": "closed"},
    {"key": "sk-embeddings-only", "alias": "narrow", "models": ["text-embedding-*"]},
    {"key_hash": hashlib.sha256(HASHED.encode()).hexdigest(), "alias": "hashed"},
]


@pytest.fixture
def guarded(gateway):
    keys = {"keys": KEYS, "teams": [{"id": "closed", "blocked": True}]}
    return gateway(keys=keys, aliases=["fast gpt-4o-mini"])


def ask(gateway, headers, **fields):
    return httpx.post(gateway.url + CHAT, json=chat(**fields), headers=headers, timeout=30)


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "api-key"])
def test_each_header_may_carry_the_key(guarded, mock, name):
    value = f"Bearer {KEY}" if name == "Authorization" else KEY
    assert ask(guarded, {name: value}).status_code == 200
    [request] = mock.requests()
    assert request["headers"]["authorization"] == f"Bearer {PROVIDER_SECRET}"
    assert KEY not in str(request)


@pytest.mark.parametrize("key", [HASHED, "sk-valid-yet"])
def test_valid_keys(guarded, key):
    assert ask(guarded, bearer(key)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic " + KEY},
        {"Authorization": KEY},
        bearer("sk-unknown"),
        bearer(KEY + "x"),
        bearer(KEY[:-1]),
        bearer("sk-expired"),
        bearer("sk-blocked"),
        bearer("sk-of-blocked-team"),
        bearer(hashlib.sha256(HASHED.encode()).hexdigest()),
        {"x-api-key": "sk-unknown"},
    ],
    ids=str,
)
def test_refused_with_401(guarded, mock, headers):
    error = assert_openai_error(ask(guarded, headers), 401, "invalid_api_key")
    assert error["type"] == "invalid_request_error"
    assert mock.count() == 0


def test_refused_in_anthropic_shape_on_messages(guarded):
    body = {"model": "gpt-4o-mini", "max_tokens": 5, "messages": []}
    response = httpx.post(guarded.url + "/v1/messages", json=body)
    assert_anthropic_error(response, 401, "authentication_error")


def test_no_row_without_authentication(guarded):
    ask(guarded, bearer("sk-unknown"))
    ask(guarded, bearer(KEY))
    assert guarded.wait_row()["status"] == 200


def test_model_not_allowed(guarded, mock):
    response = ask(guarded, bearer("sk-embeddings-only"))
    assert_openai_error(response, 403)
    assert "gpt-4o-mini" in response.json()["error"]["message"]
    assert mock.count() == 0


def test_an_alias_does_not_get_round_the_list_of_models(guarded, mock):
    assert_openai_error(ask(guarded, bearer("sk-embeddings-only"), model="fast"), 403)
    assert mock.count() == 0


def test_allowed_by_a_glob(guarded):
    body = {"model": "text-embedding-3-small", "input": "a"}
    url = guarded.url + "/v1/embeddings"
    assert httpx.post(url, json=body, headers=bearer("sk-embeddings-only")).status_code == 200


def test_unknown_model(guarded, mock):
    error = assert_openai_error(ask(guarded, bearer(KEY), model="gpt-17"), 404, "model_not_found")
    assert "gpt-17" in error["message"]
    assert mock.count() == 0


def models(gateway, key):
    response = httpx.get(gateway.url + "/v1/models", headers=bearer(key))
    assert response.status_code == 200
    body = response.json()
    assert body["object"] == "list"
    for entry in body["data"]:
        assert entry["object"] == "model"
        assert set(entry) == {"id", "object", "created", "owned_by", "model_info"}
    return [entry["id"] for entry in body["data"]]


def test_models_lists_what_the_key_may_use(guarded, mock):
    listed = models(guarded, KEY)
    assert {"gpt-4o-mini", "text-embedding-3-small", "output-only"} <= set(listed)
    assert len(listed) == len(set(listed))
    assert models(guarded, "sk-embeddings-only") == ["text-embedding-3-small"]
    assert mock.count() == 0


def test_models_needs_a_key(guarded):
    assert_openai_error(httpx.get(guarded.url + "/v1/models"), 401, "invalid_api_key")


def test_sdk_lists_models(guarded, openai_client):
    assert "gpt-4o-mini" in [model.id for model in openai_client(guarded).models.list()]


def test_secrets_are_not_logged(guarded):
    for key in (KEY, "sk-unknown", "sk-blocked"):
        ask(guarded, bearer(key))
    guarded.stop()
    logged = guarded.error_log + guarded.stderr + (guarded.prefix / "access.log").read_text()
    spooled = str(guarded.spool_rows())
    for secret in (KEY, "sk-unknown", "sk-blocked", PROVIDER_SECRET):
        assert secret not in logged
        assert secret not in spooled
