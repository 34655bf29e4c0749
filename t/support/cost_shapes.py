"""Shapes of usage that every model of the price map is asked the cost of: at least 30 of each kind."""

import json
import re

TIERS = ("flex", "balanced", "priority", "ultrafast", "batch")
PEAK = 1_762_999_200  # a Thursday, 02:00 UTC
OFF_PEAK = 1_763_172_000  # a Saturday, 02:00 UTC

# A search as providers show it: (details of the prompt, fields of the usage).
SEARCHES = {
    "anthropic": ({}, {"server_tool_use": {"web_search_requests": 3}}),
    "gemini": ({"web_search_requests": 3}, {}),
    "xai": ({}, {"server_side_tool_usage_details": {"web_search_calls": 3}}),
    "openai": ({}, {"server_tool_use": {"web_search_requests": 1}}),
}


def tokens(prompt, completion, prompt_details=None, completion_details=None, **more):
    usage = {"prompt_tokens": prompt, "completion_tokens": completion,
             "total_tokens": prompt + completion, **more}
    if prompt_details:
        usage["prompt_tokens_details"] = prompt_details
    if completion_details:
        usage["completion_tokens_details"] = completion_details
    return usage


def written(entry, short, long):
    """Cache writes by how long they stay: Anthropic sells an hour, OpenAI twelve."""
    lifetime = "12h" if any("above_12hr" in field for field in entry) else "1h"
    return {"cache_creation_tokens": short + long, "cache_creation_token_details": {
        "ephemeral_5m_input_tokens": short, f"ephemeral_{lifetime}_input_tokens": long}}


def plain_shapes(entry):
    yield "plain", tokens(1234, 567)
    yield "prompt", tokens(999, 0)
    yield "completion", tokens(1, 321)
    yield "one token each", tokens(1, 1)
    yield "a million", tokens(999_999, 100_001)
    yield "cached", tokens(5000, 100, {"cached_tokens": 3001})
    yield "all cached", tokens(4096, 10, {"cached_tokens": 4096})
    yield "written", tokens(5000, 100, {"cache_creation_tokens": 2999})
    yield "written long", tokens(5000, 100, written(entry, 1000, 2000))
    yield "cached and written", tokens(9000, 100, {"cached_tokens": 4000,
                                                   "cache_creation_tokens": 3000})
    yield "reasoning", tokens(1000, 900, None, {"reasoning_tokens": 700})
    yield "all reasoning", tokens(1000, 900, None, {"reasoning_tokens": 900})
    yield "audio in", tokens(1000, 100, {"audio_tokens": 800})
    yield "audio out", tokens(1000, 1000, None, {"audio_tokens": 900})
    yield "audio cached", tokens(3000, 100, {
        "audio_tokens": 2000, "cached_tokens": 1500,
        "cached_tokens_details": {"audio_tokens": 1000, "text_tokens": 500}})
    yield "image in", tokens(2000, 100, {"image_tokens": 1500})
    yield "image out", tokens(200, 1390, None, {"image_tokens": 1290})
    yield "video in", tokens(2000, 100, {"video_tokens": 1500})
    yield "mixed", tokens(9999, 3333,
                          {"cached_tokens": 1111, "audio_tokens": 2222, "image_tokens": 333},
                          {"reasoning_tokens": 1000, "audio_tokens": 50})


def thresholds(entry):
    """Those of the entry, and one that many others have."""
    named = (re.search(r"_above_(\d+)k_tokens", field) for field in entry)
    ranges = (tier.get("range", (0,)) for tier in entry.get("tiered_pricing", ()))
    return sorted({200_000, *(int(name[1]) * 1000 for name in named if name),
                   *(int(start) for start, *_ in ranges if start)})


def threshold_shapes(entry):
    for threshold in thresholds(entry):
        yield f"at {threshold}", tokens(threshold, 100, {"cached_tokens": 1000})
        yield f"above {threshold}", tokens(threshold + 1, 100, {
            "cached_tokens": 1000, "cache_creation_tokens": 1000})
    yield "far above", tokens(1_200_000, 5000,
                              {"cached_tokens": 600_000, **written(entry, 1000, 2000)},
                              {"reasoning_tokens": 1000})


def tier_shapes():
    yield "cached", tokens(1234, 567, {"cached_tokens": 200})
    yield "long", tokens(300_001, 2000,
                         {"cached_tokens": 100_000, "cache_creation_tokens": 50_000},
                         {"reasoning_tokens": 700})
    yield "modalities", tokens(9999, 3333, {"audio_tokens": 2222, "image_tokens": 333},
                               {"audio_tokens": 50})


def search_kind(model, entry):
    provider = entry["litellm_provider"]
    if provider in SEARCHES:
        return provider
    if "claude" in model:
        return "anthropic"
    if provider == "perplexity" or provider.startswith("vertex_ai"):
        return "gemini"
    return "openai"


def call(model, usage, at=PEAK, **more):
    return {"model": model, "created": at, "usage": usage, **more}


def token_calls(model, entry):
    for name, usage in plain_shapes(entry):
        yield name, call(model, usage)
    for name, usage in threshold_shapes(entry):
        yield name, call(model, usage)
    for tier in TIERS:
        for name, usage in tier_shapes():
            yield f"{tier}: {name}", call(model, usage, service_tier=tier)
    yield "off-peak", call(model, tokens(1234, 567, {"cached_tokens": 200}), OFF_PEAK)
    if "search_context_cost_per_query" in entry:
        details, fields = SEARCHES[search_kind(model, entry)]
        yield "search", call(model, tokens(1000, 100, details, **fields))


def transcription_calls(model, _):
    for seconds in (0.1, 1, 1.5, 7, 9.25, 30, 59.999, 60, 61, 90, 120.5, 300, 599, 600, 900, 1800,
                    3599.5, 3600, 7200, 86400):
        yield f"{seconds} s", {"model": model, "seconds": seconds}
    for prompt, audio in ((1, 0), (14, 10), (100, 100), (1234, 1200), (9999, 5000), (30_000, 1)):
        for completion in (0, 1, 333):
            usage = tokens(prompt, completion, {"audio_tokens": audio,
                                                "text_tokens": prompt - audio})
            yield f"{prompt} tokens, {audio} of audio, to {completion}", call(model, usage)


def speech_calls(model, entry):
    if "output_cost_per_image" in entry:  # music, by the clip
        for characters in range(1, 31):
            yield f"a clip, {characters} characters", {**call(model, tokens(1, 0)), "images": 1,
                                                       "characters": characters}
        return
    for characters in (1, 2, 3, 7, 10, 33, 99, 100, 256, 999, 1000, 4095, 4096, 10_000, 123_457):
        for prompt, audio in ((5, 100), (1000, 20_000)):
            usage = tokens(prompt, audio, None, {"audio_tokens": audio})
            yield f"{characters} characters, {audio} tokens", {**call(model, usage),
                                                               "characters": characters}


def image_calls(model, entry):
    if not {"input_cost_per_image", "output_cost_per_image", "input_cost_per_pixel"} & entry.keys():
        return
    own_size = re.search(r"\d+-x-\d+", model)
    sizes = [own_size[0].replace("-", "")] * 3 if own_size else ["1024x1024", "1792x1024", "512x768"]
    for turn, size in enumerate(sizes):
        for images in range(1 + 10 * turn, 11 + 10 * turn):
            width, height = map(int, size.split("x"))
            yield f"{images} of {size}", {"model": model, "data": [{"url": "x"}] * images,
                                          "size": size, "pixels": images * width * height}


def image_token_calls(model, entry):
    if "output_cost_per_image_token" not in entry:
        return
    for prompt, image_in in ((10, 0), (500, 400), (3000, 2990)):
        for made in (1, 272, 1056, 4160, 6208):
            details = {"text_tokens": prompt - image_in, "image_tokens": image_in}
            usage = {"input_tokens": prompt, "output_tokens": made, "total_tokens": prompt + made,
                     "input_tokens_details": details}
            body = {"model": model, "data": [{"url": "x"}]}
            yield f"{prompt}/{made} tokens", {**body, "usage": usage}
            usage = {**usage, "output_tokens_details": {"image_tokens": made - 1,
                                                        "text_tokens": 1}}
            yield f"{prompt}/{made} tokens with text", {**body, "usage": usage}


CALLS = {
    "chat": (token_calls,),
    "completion": (token_calls,),
    "responses": (token_calls,),
    "embedding": (token_calls,),
    "audio_transcription": (transcription_calls,),
    "audio_speech": (speech_calls,),
    "image_generation": (image_calls, image_token_calls),
    "image_edit": (image_calls,),
}


def calls(prices):
    """(name of the shape, call) for each model of the kinds above."""
    for model, entry in prices.items():
        if model == "sample_spec":
            continue
        for kind in CALLS.get(entry.get("mode"), ()):
            yield from kind(model, entry)


def as_query(call):
    """The call as a cost query of ours."""
    return json.dumps({name: value for name, value in call.items() if name != "size"})
