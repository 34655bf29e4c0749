"""Our costs beside those of PyPI litellm, for every priced model of the shipped map and every shape of
usage in support/cost_shapes.py. Where they differ, our rule is named with the provider's page that
says so, and what litellm itself says when it is asked by that rule has to be our cost."""

import collections
import concurrent.futures
import dataclasses
import json
import os
import subprocess
import typing

import pytest

from support import cost_shapes
from support.paths import ROOT

PRICES = ROOT / "conf/model_prices.json"
COST = ROOT / "build/cost"
LITELLM = ROOT / "build/litellm/bin/python"
TOLERANCE = 1e-9  # USD
SHARE = 40_000  # calls that one process of litellm answers
NOT_COMPARABLE = ("not found by its name", "No pricing information found")


@dataclasses.dataclass
class Difference:
    ours: str
    page: str
    rule: str  # of support/litellm_costs.py
    holds: typing.Callable  # (entry, call) -> whether it explains the call's difference


def is_batch(call):
    return call.get("service_tier") == "batch"


def has_search(call):
    return "web_search" in json.dumps(call.get("usage", {}))


def costs_as_text(entry, kind):
    field = f"input_cost_per_{kind}_token"
    return field in entry and entry[field] == entry.get("input_cost_per_token")


DIFFERENCES = [
    Difference(
        "a batch without a batch price costs half of everything: cached tokens, other modalities "
        "and prompts above a threshold too",
        "https://openai.com/api/pricing, https://platform.claude.com/docs/en/about-claude/pricing, "
        "https://ai.google.dev/gemini-api/docs/pricing",
        "generic", lambda entry, call: is_batch(call)),
    Difference(
        "the same with a batch price that leaves out what is above a threshold; without a batch "
        "price for it, what is cached costs what other input does",
        "https://ai.google.dev/gemini-api/docs/pricing, "
        "https://platform.claude.com/docs/en/build-with-claude/batch-processing",
        "half, uncached", lambda entry, call: is_batch(call)
        and "prompt_tokens_details" in call["usage"]),
    Difference(
        "third-party models have the cache and long-context prices of their providers",
        "https://docs.perplexity.ai/getting-started/pricing",
        "generic", lambda entry, _: entry["litellm_provider"] == "perplexity"),
    Difference(
        "the tier that served is billed",
        "https://fireworks.ai/pricing",
        "generic", lambda entry, call: entry["litellm_provider"] == "fireworks_ai"
        and "service_tier" in call),
    Difference(
        "a modality that costs what text costs does so at every tier",
        "https://ai.google.dev/gemini-api/docs/pricing, https://aws.amazon.com/nova/pricing",
        "text", lambda entry, call: "service_tier" in call
        and (costs_as_text(entry, "audio") or costs_as_text(entry, "image"))),
    Difference(
        "each search is billed, wherever Claude runs",
        "https://platform.claude.com/docs/en/about-claude/pricing#web-search-tool",
        "calls", lambda entry, call: has_search(call)),
    Difference(
        "a price of the request is billed",
        "https://docs.perplexity.ai/getting-started/pricing",
        "calls", lambda entry, _: "input_cost_per_request" in entry),
]


def answers_of(command, lines):
    done = subprocess.run(command, input="\n".join(lines) + "\n", text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    answers = done.stdout.splitlines()
    assert len(answers) == len(lines)
    return answers


def our_costs(calls):
    """USD, or None for a model without a price. The parts have to be the total."""
    lines = answers_of([COST, PRICES], [cost_shapes.as_query(call) for _, call in calls])
    for line in lines:
        if line != "-":
            total, *parts = map(int, line.split())
            assert total == sum(parts) and min(parts) >= 0
    return [None if line == "-" else int(line.split()[0]) * 1e-9 for line in lines]


def litellm_costs(calls):
    """USD, or what kept litellm from telling."""
    command = [LITELLM, ROOT / "t/support/litellm_costs.py"]
    lines = [json.dumps(call) for call in calls]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        shares = threads.map(lambda share: answers_of(command, share),
                             [lines[start:start + SHARE] for start in range(0, len(lines), SHARE)])
        answers = [line for share in shares for line in share]
    return [line if line.startswith("error") else float(line) for line in answers]


def is_same(ours, theirs):
    return isinstance(theirs, float) and abs(ours - theirs) <= TOLERANCE


def check_uncompared(ours, theirs):
    """What cannot be compared: litellm cannot tell, or there is no price and it says 0."""
    if ours is None:
        assert theirs == 0 or isinstance(theirs, str)
    else:
        assert any(reason in theirs for reason in NOT_COMPARABLE), theirs


def explained(different, prices):
    """Per difference, how many calls litellm finds our cost for when it is asked by that rule; and
    the calls that remain."""
    asked = [(place, difference) for place, (_, call, _) in enumerate(different)
             for difference in DIFFERENCES if difference.holds(prices[call["model"]], call)]
    theirs = litellm_costs([{**different[place][1], "rule": difference.rule}
                            for place, difference in asked])
    reasons = {}  # the first that explains a call
    for (place, difference), cost in zip(asked, theirs):
        if is_same(different[place][2], cost):
            reasons.setdefault(place, difference.ours)
    counts = collections.Counter(reasons.values())
    rest = [one for place, one in enumerate(different) if place not in reasons]
    return [counts[difference.ours] for difference in DIFFERENCES], rest


@pytest.mark.timeout(300)
def test_costs_what_litellm_says(capsys):
    prices = json.loads(PRICES.read_text())
    calls = list(cost_shapes.calls(prices))
    same, uncompared, different = collections.Counter(), 0, []
    for (name, call), ours, theirs in zip(calls, our_costs(calls),
                                          litellm_costs([call for _, call in calls])):
        if ours is None or isinstance(theirs, str):
            check_uncompared(ours, theirs)
            uncompared += 1
        elif is_same(ours, theirs):
            same[prices[call["model"]]["mode"]] += 1
        else:
            different.append((name, call, ours))
    counts, rest = explained(different, prices)

    with capsys.disabled():
        print(f"\n{len(calls)} pairs of model and usage; within 1e-9 USD: {same.total()}",
              ", ".join(f"{mode} {n}" for mode, n in sorted(same.items())))
        for difference, count in zip(DIFFERENCES, counts):
            print(f"{count:6} differ: {difference.ours} ({difference.page})")
        print(f"{uncompared:6} without a price, or not told by litellm")
    assert not rest, f"{len(rest)} differ, such as {rest[:5]}"
    assert all(counts), "a difference is listed that is none"
    assert same.keys() == cost_shapes.CALLS.keys()
    shapes = collections.Counter(call["model"] for _, call in calls)
    assert min(shapes.values()) >= 30
