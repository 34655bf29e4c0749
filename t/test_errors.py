"""What a client is told when something is wrong, and in which words."""

import socket

import httpx
import pytest

from support.calls import CHAT, assert_anthropic_error, assert_openai_error, chat
from support.nginx_conf import KEY, provider
from support.waiting import free_port

HI = '"messages":[{"role":"user","content":"hi"}]'


def post(gateway, content, path=CHAT):
    headers = {"Content-Type": "application/json"}
    return gateway.client.post(path, content=content, headers=headers)


@pytest.mark.parametrize(
    "body, param",
    [
        ("", None),
        ("no json", None),
        ("[]", None),
        ('"gpt-4o-mini"', None),
        (f'{{"model":"gpt-4o-mini",{HI}', None),
        (f'{{"model":"gpt-4o-mini",{HI}}}}}', None),
        (f'{{"model":"gpt-4o-mini",{HI}}} {{}}', None),
        (b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"\xff"}]}', None),
        (f"{{{HI}}}", "model"),
        (f'{{"model":"",{HI}}}', "model"),
        (f'{{"model":17,{HI}}}', "model"),
        (f'{{"model":null,{HI}}}', "model"),
        (f'{{"tools":[{{"model":"gpt-4o-mini"}}],{HI}}}', "model"),
        (f'{{"model":"gpt-4o-mini","model":"output-only",{HI}}}', "model"),
        (f'{{"model":"gpt-4o-mini","mod\\u0065l":"gpt-4o-mini",{HI}}}', "model"),
        (f'{{"model":"gpt-4o-mini","max_tokens":1,"max_tokens":2,{HI}}}', "max_tokens"),
        (f'{{"model":"gpt-4o-mini","max_tokens":"100",{HI}}}', "max_tokens"),
        (f'{{"model":"gpt-4o-mini","max_tokens":1.5,{HI}}}', "max_tokens"),
        (f'{{"model":"gpt-4o-mini","max_tokens":-1,{HI}}}', "max_tokens"),
        (f'{{"model":"gpt-4o-mini","max_tokens":99999999999999999999,{HI}}}', "max_tokens"),
        (f'{{"model":"gpt-4o-mini","max_completion_tokens":"9",{HI}}}', "max_completion_tokens"),
        (f'{{"model":"gpt-4o-mini","n":"2",{HI}}}', "n"),
        (f'{{"model":"gpt-4o-mini","n":0,{HI}}}', "n"),
        (f'{{"model":"gpt-4o-mini","stream":"true",{HI}}}', "stream"),
        (f'{{"model":"gpt-4o-mini","stream":1,{HI}}}', "stream"),
        ('{"model":"gpt-4o-mini"}', "messages"),
        ('{"model":"gpt-4o-mini","messages":[]}', "messages"),
        ('{"model":"gpt-4o-mini","messages":"hi"}', "messages"),
        ('{"model":"gpt-4o-mini","messages":' + "[" * 5000 + "]" * 5000 + "}", None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_malformed_requests(gateway, mock, body, param):
    response = post(gateway(), body)
    error = assert_openai_error(response, 400)
    assert error["type"] == "invalid_request_error"
    if param:
        assert error["param"] == param
    assert mock.count() == 0


def test_embeddings_need_input(gateway, mock):
    response = post(gateway(), '{"model":"text-embedding-3-small"}', "/v1/embeddings")
    assert assert_openai_error(response, 400)["param"] == "input"
    assert mock.count() == 0


def test_body_too_large_is_refused_unread(gateway):
    one = gateway(proxy={"client_max_body_size": "1m"})
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        "Content-Length: 99000000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", one.port), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read().decode()
    status, _, rest = answer.partition("\r\n")
    headers, _, body = rest.partition("\r\n\r\n")
    assert status.split()[1] == "413"
    assert "content-type: application/json" in headers.lower()
    assert '"error"' in body and "<html>" not in body


def test_chunked_body_too_large(gateway, mock):
    one = gateway(proxy={"client_max_body_size": "64k"})
    pieces = (b" " * 1024 for _ in range(100))
    try:
        response = post(one, pieces)
    except httpx.WriteError:
        return  # nginx closed while we were still sending: refused all the same
    assert_openai_error(response, 413, "request_too_large")
    assert mock.count() == 0


def test_body_that_cannot_be_stored(gateway, mock):
    one = gateway()
    one.expect_alarm("tmp/body/")
    (one.prefix / "tmp/body").rename(one.prefix / "tmp/gone")
    (one.prefix / "tmp/body").write_text("no directory")
    answer = one.client.post(CHAT, json=chat("x " * 1_000_000))  # more than stays in memory
    assert_openai_error(answer, 500)
    assert one.wait_row()["status"] == 500
    assert mock.count() == 0


@pytest.mark.parametrize(
    "method, path",
    [("POST", "/v1/unknown"), ("GET", CHAT), ("DELETE", "/v1/models"), ("POST", "/v1/chat")],
)
def test_unknown_route(gateway, mock, method, path):
    response = gateway().client.request(method, path, json=chat() if method == "POST" else None)
    assert_openai_error(response, 404, "unknown_url")
    assert mock.count() == 0


def test_messages_errors_have_anthropic_shape(gateway):
    body = {"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    response = gateway().client.post("/v1/messages", json=body)
    assert_anthropic_error(response, 404, "not_found_error")


@pytest.mark.parametrize("status", [400, 404, 422])
def test_providers_own_error_passes_through(gateway, mock, status):
    mock.behave(status=status)
    response = gateway().client.post(CHAT, json=chat())
    assert response.status_code == status
    assert response.json() == {
        "error": {
            "message": f"mock error {status}",
            "type": "mock_error",
            "param": None,
            "code": f"mock_{status}",
        }
    }


def test_no_provider_is_reachable(gateway):
    one = gateway(providers=[provider("mock", f"http://127.0.0.1:{free_port()}")])
    assert_openai_error(one.client.post(CHAT, json=chat()), 502, "bad_gateway")
    row = one.wait_row()
    assert (row["status"], row["cost_nano_usd"], row["usage_source"]) == (502, 0, "none")
    assert row["error_kind"]


def test_provider_is_too_slow(gateway, mock):
    mock.behave(hang=1)
    one = gateway(proxy={"proxy_read_timeout": "300ms"})
    assert_openai_error(one.client.post(CHAT, json=chat()), 504, "gateway_timeout")
    assert one.wait_row()["status"] == 504


def test_provider_cuts_before_it_answers(gateway, mock):
    mock.behave(cut_after=0)
    assert_openai_error(gateway().client.post(CHAT, json=chat()), 502, "bad_gateway")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_next_deployment_answers(gateway, mock, status):
    """The failing one is not a mock provider but a plain nginx server beside it."""
    port = free_port()
    failing = f"server {{ listen 127.0.0.1:{port}; return {status}; }}"
    one = gateway(
        providers=[
            provider("failing", f"http://127.0.0.1:{port}"),
            provider("mock", mock.url),
        ],
        routes=["gpt-4o-mini failing", "gpt-4o-mini mock backup"],
        http=failing,
    )
    assert one.client.post(CHAT, json=chat()).status_code == 200
    row = one.wait_row()
    assert (row["status"], row["attempts"], row["provider"]) == (200, 2, "mock")
    assert mock.count() == 1


def test_every_deployment_fails(gateway):
    urls = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    one = gateway(
        providers=[provider("first", urls[0]), provider("second", urls[1])],
        routes=["gpt-4o-mini first", "gpt-4o-mini second backup"],
    )
    assert_openai_error(one.client.post(CHAT, json=chat()), 502, "bad_gateway")
    assert one.wait_row()["attempts"] == 2
