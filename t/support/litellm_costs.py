"""What PyPI litellm says that a call costs: reads a line of JSON each, writes a line with the USD, or
what was wrong. Runs in a virtual environment of its own (build/litellm): litellm wants other versions
of what the tests use.

A call's "rule" picks how it is asked: nothing is its calculator for that provider; "generic" its
calculator for all providers, told the tier, and a batch is half of it; "half, uncached" the same with
nothing cached; "text" generic with every modality that costs what text does taken for text; "calls"
generic with each search and the request itself billed."""

import datetime
import json
import os
import re
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
ANSWERS = os.fdopen(os.dup(1), "w")
sys.stdout = sys.stderr  # for what litellm has to say

import litellm
from litellm.cost_calculator import cost_per_token, default_image_cost_calculator
from litellm.litellm_core_utils.llm_cost_calc import utils
from litellm.litellm_core_utils.llm_cost_calc.tool_call_cost_tracking import (
    StandardBuiltInToolCostTracking)
from litellm.types.utils import ImageObject, ImageResponse, ImageUsage, Usage

NEED_LOGIN = {"github_copilot", "chatgpt"}  # litellm asks them about their models
CALL_TYPES = {"audio_transcription": "transcription", "audio_speech": "speech",
              "embedding": "embedding"}


def provider_of(model):
    name = litellm.model_cost[model]["litellm_provider"]
    if name.startswith("vertex_ai"):
        return "vertex_ai"
    return "bedrock" if name == "bedrock_converse" else name


def prices_of(model):
    return {field: price for field, price in litellm.model_cost[model].items() if "cost" in field}


def finds(model, provider):
    """Names are looked up in several ways: another entry may be found first."""
    if provider in NEED_LOGIN:
        return False
    key = litellm.get_model_info(model, custom_llm_provider=provider)["key"]
    return prices_of(key) == prices_of(model)


def has_search(call):
    return "web_search" in json.dumps(call["usage"]) if "usage" in call else False


def cost_by_entry(call, provider):
    """By the calculator for all providers, which can be handed the entry."""
    if call.get("service_tier") == "batch" or "usage" not in call or has_search(call):
        raise LookupError("its entry is not found by its name")
    return sum(utils.generic_cost_per_token(
        call["model"], Usage(**call["usage"]), provider, service_tier=call.get("service_tier"),
        model_info=litellm.model_cost[call["model"]]))


def sized_image_cost(model, provider, images, size):
    """Of an entry that is named by provider, quality and size of its images."""
    name = re.fullmatch(r"(?:(\w+)/)?\d+-x-\d+/([^/]+)", model)
    quality, model = name.groups() if name else (None, model)
    return default_image_cost_calculator(model, provider, quality, images, size)


def image_cost(call, provider):
    model, images = call["model"], [ImageObject(url="x")] * len(call["data"])
    usage = call.get("usage")
    if usage is None and ("-x-" in model or "stability." in model):
        return sized_image_cost(model, provider, len(images), call["size"])
    if not finds(model, provider):
        raise LookupError("its entry is not found by its name")
    response = ImageResponse(data=images, usage=ImageUsage(**usage) if usage else None)
    return utils.CostCalculatorUtils.route_image_generation_cost_calculator(
        model, response, provider, n=len(images), size=call.get("size"), call_type="image_generation")


def as_text(usage, entry):
    details = usage.get("prompt_tokens_details", {})
    for modality in ("audio", "image", "video"):
        if entry.get(f"input_cost_per_{modality}_token") == entry["input_cost_per_token"]:
            details.pop(f"{modality}_tokens", None)


def cost_of_calls(usage, entry):
    price = entry.get("search_context_cost_per_query", {}).get("search_context_size_medium", 0)
    searches = usage.get("server_tool_use", {}).get("web_search_requests", 0)
    return entry.get("input_cost_per_request", 0) + price * searches


def by_rule(call, provider):
    rule, tier, fields = call["rule"], call.get("service_tier"), call["usage"]
    entry = litellm.model_cost[call["model"]]
    if rule == "text":
        as_text(fields, entry)
    elif rule == "half, uncached":
        fields.pop("prompt_tokens_details")
    batch = tier == "batch"
    total = sum(utils.generic_cost_per_token(call["model"], Usage(**fields), provider,
                                             service_tier=None if batch else tier))
    total = total / 2 if batch else total
    return total + cost_of_calls(fields, entry) if rule == "calls" else total


def cost(call):
    model = call["model"]
    provider, mode = provider_of(model), litellm.model_cost[model].get("mode")
    if "data" in call:
        return image_cost(call, provider)
    at = datetime.datetime.fromtimestamp(call.get("created", 0), datetime.timezone.utc)
    utils.current_billing_time = lambda: at
    if "rule" in call:
        return by_rule(call, provider)
    if not finds(model, provider):
        return cost_by_entry(call, provider)
    tier, fields = call.get("service_tier"), call.get("usage", {})
    usage = Usage(**fields)
    batch = tier == "batch"
    parts = cost_per_token(
        model, usage.prompt_tokens, usage.completion_tokens, custom_llm_provider=provider,
        usage_object=usage, service_tier=None if batch else tier,
        call_type="retrieve_batch" if batch else CALL_TYPES.get(mode, "completion"),
        prompt_characters=call.get("characters"),
        audio_transcription_file_duration=call.get("seconds", 0.0))
    tools = StandardBuiltInToolCostTracking.get_cost_for_built_in_tools(
        model, None, usage, provider) if has_search(call) else 0
    return sum(parts) + tools


def main():
    for line in sys.stdin:
        try:
            print(repr(cost(json.loads(line))), file=ANSWERS)
        except Exception as error:  # litellm raises plain ones
            print("error", str(error).split("\n")[0][:200], file=ANSWERS)


if __name__ == "__main__":
    main()
