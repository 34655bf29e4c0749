"""What a provider says beyond its answer: it steers neither nginx nor the client."""

import pytest

from support.calls import CHAT, assert_openai_error, chat
from support.nginx_conf import KEY, provider
from support.raw_provider import http_answer, raw_provider
from support.waiting import free_port

JSON = "Content-Type: application/json"


@pytest.fixture
def ask(gateway):
    """Sends one chat to a gateway whose provider answers with these bytes."""

    def run(answer, **settings):
        with raw_provider(answer) as (url, requests):
            one = gateway(providers=[provider("mock", url)], **settings)
            return one, one.client.post(CHAT, json=chat()), requests

    return run


def test_accel_headers_do_not_redirect(ask):
    one, response, _ = ask(
        http_answer("200 OK", JSON, "X-Accel-Redirect: /secret", body=b'{"choices":[]}'),
        server="location /secret { return 200 internal; }",
    )
    assert response.json() == {"choices": []}


@pytest.mark.parametrize(
    "status", ["301 Moved", "304 Not Modified", "401 Unauthorized", "403 Forbidden"]
)
def test_unusable_answers_are_a_bad_gateway(ask, status):
    one, response, _ = ask(
        http_answer(
            status,
            JSON,
            "Location: http://10.0.0.1/internal",
            "WWW-Authenticate: Bearer",
            body=b'{"error":{"message":"Incorrect API key provided: sk-prov***"}}',
        )
    )
    assert_openai_error(response, 502)
    assert "sk-prov" not in response.text
    assert not {"location", "www-authenticate"} & set(response.headers)
    row = one.wait_row()
    assert (row["status"], row["cost_nano_usd"], row["usage_source"]) == (502, 0, "none")
    assert 'provider "mock" answered ' + status[:3] in one.error_log


def test_switching_protocols_opens_no_tunnel(ask):
    answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw"
    _, response, _ = ask(answer)
    assert_openai_error(response, 502)


def test_our_headers_are_ours(ask):
    _, response, _ = ask(
        http_answer(
            "200 OK",
            JSON,
            "x-llm-cost: 99",
            "x-llm-request-id: forged",
            "x-model-downgraded: true",
            "Set-Cookie: a=b",
        )
    )
    assert len(response.headers.get_list("x-llm-request-id")) == 1
    assert response.headers["x-llm-request-id"] != "forged"
    assert response.headers.get_list("x-llm-cost") != ["99"]
    assert "x-model-downgraded" not in response.headers
    assert "set-cookie" not in response.headers


def test_clients_credentials_stay_here(gateway):
    with raw_provider(http_answer("200 OK", JSON)) as (url, requests):
        one = gateway(providers=[provider("mock", url)])
        headers = {"OpenAI-Organization": "org-client", "Cookie": "a=b", "x-api-key": KEY}
        one.client.post(CHAT + "?api_key=from-client", json=chat(), headers=headers)
        (head,) = requests
    assert head.startswith("POST /v1/chat/completions HTTP/1.1")
    for private in (KEY, "org-client", "from-client", "Cookie", "a=b"):
        assert private not in head


def test_requested_model_cannot_end_a_header(gateway):
    one = gateway(server="add_header X-Asked $llm_requested_model always;")
    response = one.client.post(CHAT, json=chat(model="x\r\nX-Forged: 1"))
    assert response.status_code == 404
    assert "x-forged" not in response.headers and "x-asked" not in response.headers


def test_more_failures_than_nginx_redirects_still_end_in_json(gateway, mock):
    mock.behave(status=500)
    names = [f"p{i}" for i in range(14)]
    one = gateway(
        providers=[provider(name, mock.url) for name in names],
        routes=[f"gpt-4o-mini {name}" for name in names],
    )
    assert_openai_error(one.client.post(CHAT, json=chat()), 500)


def test_broken_framing_is_recorded_as_a_bad_gateway(gateway):
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'zz\r\n{"choices":[]}'
    )
    with raw_provider(answer) as (url, _):
        one = gateway(providers=[provider("mock", url)])
        try:
            assert one.client.post(CHAT, json=chat()).status_code == 502
        except Exception as error:  # nginx may just hang up
            assert "disconnected" in str(error)
        row = one.wait_row()
    assert (row["status"], row["usage_source"], row["aborted"]) == (502, "held", True)


def test_every_provider_down(gateway):
    one = gateway(
        providers=[provider(name, f"http://127.0.0.1:{free_port()}") for name in ("a", "b")],
        routes=["gpt-4o-mini a", "gpt-4o-mini b backup"],
    )
    assert_openai_error(one.client.post(CHAT, json=chat()), 502)
    row = one.wait_row()
    assert (row["attempts"], row["deployment"], row["cost_nano_usd"]) == (2, "b/gpt-4o-mini", 0)
