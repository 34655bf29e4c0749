"""Ways into a location with `llm on` other than a client's request for it.

nginx skips the access phase for subrequests: but for a guard they would reach a provider without a
key, a hold and a row.
"""

import contextlib

import httpx
import pytest

from support.calls import CHAT, assert_openai_error, chat
from support.nginx_conf import PROVIDER_SECRET, provider
from support.raw_provider import http_answer, raw_provider
from support.waiting import wait_until

BODY = chat(model="output-only", max_tokens=10)
REFUSED = "cannot enter a location of \"llm on\""

# Each with the status of the answer to a request for /in; $to is what it enters.
SUBREQUESTS = {
    "mirror": (200, "mirror $to; try_files /page =404;"),
    "auth_request": (403, "auth_request $to; try_files /page =404;"),
    "ssi": (200, "ssi on; ssi_types *; try_files /include =404;"),
    "addition": (200, "addition_types *; add_after_body $to; try_files /page =404;"),
}


@pytest.fixture(params=["variable", "fixed"])
def target(request, mock):
    """A location to enter by subrequests: the provider by variables, or by a URL of its own."""
    url = "$llm_upstream_url" if request.param == "variable" else f"{mock.url}/v1/chat/completions"
    return f"""
        location /to/ {{
            llm on;
            proxy_pass {url};
            proxy_method POST;
            proxy_set_header Authorization "Bearer {PROVIDER_SECRET}";
        }}"""


def serve(gateway, target, directives, **settings):
    """A gateway with a location /in of these directives, and two pages."""
    to = "/to/v1/chat/completions"
    one = gateway(start=False, **settings)
    one.settings.server = target + f"""
        error_page 405 =200 $uri;  # static files are not for POST
        location = /in {{ root {one.prefix}; default_type text/html; {directives.replace("$to", to)} }}
        location = /page {{ root {one.prefix}; }}"""
    (one.prefix / "page").write_text("a page")
    (one.prefix / "include").write_text(f'a page <!--# include virtual="{to}" -->')
    return one.start()


@pytest.mark.parametrize("way", SUBREQUESTS)
def test_subrequests_are_refused(gateway, mock, target, way):
    status, directives = SUBREQUESTS[way]
    one = serve(gateway, target, directives)
    assert one.client.get("/in").status_code == status
    wait_until(lambda: REFUSED in one.error_log, "the subrequest is refused")
    assert mock.count() == 0
    assert one.spool_rows() == []


def test_a_subrequest_of_a_call_is_refused(gateway, mock, target):
    """The call under way has a deployment and its secret; its copy would cost once more."""
    mock.behave(tokens=10)
    one = gateway(start=False)
    one.settings.server = target + """
        location /copied/ { llm on; mirror /to/copy; include llm_proxy.conf; }"""
    one.start()
    assert one.client.post("/copied/v1/chat/completions", json=BODY).status_code == 200
    wait_until(lambda: REFUSED in one.error_log, "the copy is refused")
    assert mock.count() == 1
    assert one.wait_row()["cost_nano_usd"] == 10_000


def test_a_slice_of_an_answer_is_refused(gateway):
    """Slices are subrequests that begin in the content phase."""
    part = http_answer("206 Partial Content", "Content-Range: bytes 0-9/100", 'ETag: "1"', body=b"0123456789")
    with raw_provider(part) as (url, requests):
        one = gateway(
            providers=[provider("mock", url)],
            proxy={"slice": "10; proxy_set_header Range $slice_range"},
        )
        with contextlib.suppress(httpx.RemoteProtocolError):  # it gets less than the whole
            one.client.post(CHAT, json=BODY)
        wait_until(lambda: REFUSED in one.error_log, "the second slice is refused")
        one.wait_row()
        assert len(requests) == 1


def test_a_mirror_of_prompts_to_elsewhere(gateway, mock):
    one = gateway(
        server=f"""
        location /copied/ {{ llm on; mirror /archive; include llm_proxy.conf; }}
        location = /archive {{ internal; proxy_pass {mock.url}/archive; }}"""
    )
    assert one.client.post("/copied/v1/chat/completions", json=BODY).status_code == 200
    wait_until(lambda: mock.count() == 2, "the copy has arrived")
    assert REFUSED not in one.error_log


@pytest.mark.parametrize(
    "directives",
    [
        "try_files /none @llm_next;",
        "error_page 418 = @llm_next; return 418;",
        "rewrite ^ /v1/chat/completions last;",
        "error_page 418 = @named; return 418;",
    ],
)
def test_internal_redirects_are_calls(gateway, mock, directives):
    """They run the access phase: with a key, a hold and a row."""
    one = gateway(
        server=f"""
        location = /in/v1/chat/completions {{ {directives} }}
        location @named {{ llm on; include llm_proxy.conf; }}"""
    )
    refused = one.client.post("/in/v1/chat/completions", json=BODY, headers={"Authorization": ""})
    assert_openai_error(refused, 401)
    assert mock.count() == 0
    assert one.client.post("/in/v1/chat/completions", json=BODY).status_code == 200
    assert one.wait_row()["status"] == 200


def test_blocks_inside_a_location(gateway, mock):
    """`if` and `limit_except` have a content handler of their own, or none."""
    one = gateway(
        server="""
        location /blocks/ {
            llm on;
            if ($http_x_app) { set $seen yes; }
            limit_except POST { deny 127.0.0.2; }
            include llm_proxy.conf;
        }"""
    )
    path = "/blocks/v1/chat/completions"
    for app in ({}, {"x-app": "search"}):
        refused = one.client.post(path, json=BODY, headers=app | {"Authorization": ""})
        assert_openai_error(refused, 401)
        assert one.client.post(path, json=BODY, headers=app).status_code == 200
    assert_openai_error(one.client.put(path, json=BODY), 404)
    assert [row["status"] for row in one.wait_rows(3)].count(200) == mock.count() == 2


def test_a_redirect_by_a_backend_is_a_call(gateway, mock):
    with raw_provider(http_answer("200 OK", "X-Accel-Redirect: @named")) as (url, _):
        one = gateway(
            server=f"""
            location = /in/v1/chat/completions {{ proxy_pass {url}; }}
            location @named {{ llm on; include llm_proxy.conf; }}"""
        )
        path = "/in/v1/chat/completions"
        assert_openai_error(one.client.post(path, json=BODY, headers={"Authorization": ""}), 401)
        assert mock.count() == 0
        assert one.client.post(path, json=BODY).status_code == 200
        assert one.wait_row()["status"] == 200


@pytest.mark.parametrize("after", ["/v1/", "/plain"])
def test_what_follows_an_answer_is_refused(gateway, mock, after):
    """post_action comes after the row, or makes a call whose answer nobody gets."""
    down = "down http://127.0.0.1:1/v1 dialect=openai api_key=file:provider.key"
    one = gateway(
        providers=[provider("mock", mock.url), down],
        routes=["output-only mock", "output-only down backup"],
        server="""
        location @after { llm on; include llm_proxy.conf; }
        location /answered/ { llm on; post_action @after; include llm_proxy.conf; }
        location = /plain/v1/chat/completions { post_action @after; empty_gif; error_page 405 =200 /page; }
        location = /page { post_action @after; return 200 "a page"; }""",
    )
    path = "/answered" if after == "/v1/" else "/plain"
    assert one.client.post(path + "/v1/chat/completions", json=BODY).status_code == 200
    wait_until(lambda: REFUSED in one.error_log, "the action is refused")
    assert mock.count() == (1 if after == "/v1/" else 0)
    rows = one.wait_rows(1) if after == "/v1/" else one.spool_rows()
    assert [row["attempts"] for row in rows] == [1] * len(rows)
