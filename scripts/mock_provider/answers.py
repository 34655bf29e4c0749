"""What the mock provider answers: controls, token counts and the dialects' bodies and streams."""

import base64
import itertools
import json
import re
import struct

DEFAULT_REPLY = "This is the mock provider: it answers every request with these very words."
CREATED = 1700000000  # constant, so that equal requests have equal answers byte for byte


class BadRequest(Exception):
    """The client's fault; its text goes into the error body."""


def texts_of(value):
    """Every text of a message's content, a prompt or an input, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts_of(item)
    elif isinstance(value, dict):
        for name in ("text", "content"):
            yield from texts_of(value.get(name))


def count_token_ids(value):
    if isinstance(value, list):
        return sum(1 if isinstance(item, int) else count_token_ids(item) for item in value)
    return 0


def prompt_of(body):
    """(texts, number of messages) of any dialect's request body."""
    messages = body.get("messages") or []
    parts = [body.get("system"), messages, body.get("prompt"), body.get("input")]
    return [text for part in parts for text in texts_of(part)], len(messages)


def count_prompt_tokens(body):
    texts, messages = prompt_of(body)
    ids = count_token_ids(body.get("prompt")) + count_token_ids(body.get("input"))
    return sum(len(text.split()) for text in texts) + 3 * messages + ids


def controls_in_text(body):
    texts, _ = prompt_of(body)
    found = re.search(r"mock:(?=\{)", texts[-1]) if texts else None
    if not found:
        return {}
    try:
        return json.JSONDecoder().raw_decode(texts[-1], found.end())[0]
    except ValueError as error:
        raise BadRequest(f"malformed mock control: {error}") from error


class Answer:
    """What is answered: deltas and their count, the same for every dialect."""

    def __init__(self, body, controls):
        self.model = body.get("model", "")
        self.controls = controls
        deltas = controls.get("deltas")
        if deltas is None:
            deltas = re.findall(r"\s*\S+", controls.get("reply", DEFAULT_REPLY))
        if "tokens" in controls:
            words = [d if d[:1].isspace() else " " + d for d in deltas]
            deltas = list(itertools.islice(itertools.cycle(words), controls["tokens"]))
        bound = body.get("max_completion_tokens") or body.get("max_tokens")
        self.cut_short = bound is not None and len(deltas) > bound
        self.deltas = deltas[:bound] if self.cut_short else deltas
        self.text = "".join(self.deltas)
        self.prompt_tokens = controls.get("prompt_tokens", count_prompt_tokens(body))

    def openai_usage(self, choices):
        if self.controls.get("no_usage"):
            return None
        output = len(self.deltas) * choices
        usage = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": output,
            "total_tokens": self.prompt_tokens + output,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }
        return usage | self.controls.get("usage", {})

    def anthropic_usage(self, output):
        usage = {"input_tokens": self.prompt_tokens, "output_tokens": output}
        return usage | self.controls.get("usage", {})


def sse(data, event=None):
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    return ((f"event: {event}\n" if event else "") + f"data: {text}\n\n").encode()


class Chat:
    kind, chunk_kind, id = "chat.completion", "chat.completion.chunk", "chatcmpl-mock"

    def __init__(self, body, controls):
        self.answer = Answer(body, controls)
        self.choices = range(self.count_choices(body))
        options = body.get("stream_options") or {}
        self.usage_wanted = bool(options.get("include_usage")) and not controls.get("no_usage")

    def count_choices(self, body):
        return body.get("n") or 1

    def envelope(self, kind, **members):
        head = {"id": self.id, "object": kind, "created": CREATED, "model": self.answer.model}
        return head | members

    def finish_reason(self):
        return "length" if self.answer.cut_short else "stop"

    def choice(self, index):
        message = {"role": "assistant", "content": self.answer.text, "refusal": None}
        return {
            "index": index,
            "message": message,
            "logprobs": None,
            "finish_reason": self.finish_reason(),
        }

    def whole(self):
        body = self.envelope(self.kind, choices=[self.choice(index) for index in self.choices])
        usage = self.answer.openai_usage(len(self.choices))
        return body if usage is None else body | {"usage": usage}

    def part(self, index, delta=None, role=None, finish=None):
        content = {"role": role, "content": ""} if role else {"content": delta} if delta else {}
        return {"index": index, "delta": content, "logprobs": None, "finish_reason": finish}

    def chunk(self, part):
        usage = {"usage": None} if self.usage_wanted else {}
        return sse(self.envelope(self.chunk_kind, choices=[part], **usage))

    def opening(self):
        return [self.chunk(self.part(index, role="assistant")) for index in self.choices]

    def events(self):
        for event in self.opening():
            yield False, event
        for delta in self.answer.deltas:
            yield True, b"".join(self.chunk(self.part(i, delta=delta)) for i in self.choices)
        for index in self.choices:
            yield False, self.chunk(self.part(index, finish=self.finish_reason()))
        if self.usage_wanted:
            usage = self.answer.openai_usage(len(self.choices))
            yield False, sse(self.envelope(self.chunk_kind, choices=[], usage=usage))
        yield False, sse("[DONE]")


class Completions(Chat):
    kind = chunk_kind = "text_completion"
    id = "cmpl-mock"

    def count_choices(self, body):
        prompt = body.get("prompt")
        prompts = (
            len(prompt) if isinstance(prompt, list) and isinstance(prompt[0], (str, list)) else 1
        )
        return (body.get("n") or 1) * prompts

    def choice(self, index):
        return self.part(index, delta=self.answer.text, finish=self.finish_reason())

    def part(self, index, delta=None, role=None, finish=None):
        return {"index": index, "text": delta or "", "logprobs": None, "finish_reason": finish}

    def opening(self):
        return []


class Embeddings:
    events = None  # never streamed

    def __init__(self, body, controls):
        self.answer = Answer(body, controls)
        given = body.get("input")
        many = isinstance(given, list) and given and not isinstance(given[0], int)
        self.inputs = len(given) if many else 1
        self.size = body.get("dimensions") or 8
        self.base64 = body.get("encoding_format") == "base64"

    def vector(self, index):
        numbers = [(index + 1) / (place + 1) for place in range(self.size)]
        if self.base64:
            return base64.b64encode(struct.pack(f"<{self.size}f", *numbers)).decode()
        return numbers

    def whole(self):
        data = [
            {"object": "embedding", "index": index, "embedding": self.vector(index)}
            for index in range(self.inputs)
        ]
        body = {"object": "list", "data": data, "model": self.answer.model}
        if not self.answer.controls.get("no_usage"):
            tokens = self.answer.prompt_tokens
            usage = {"prompt_tokens": tokens, "total_tokens": tokens}
            body["usage"] = usage | self.answer.controls.get("usage", {})
        return body


class Messages:
    def __init__(self, body, controls):
        if not isinstance(body.get("max_tokens"), int):
            raise BadRequest("max_tokens: Field required")
        self.answer = Answer(body, controls)
        self.stop = "max_tokens" if self.answer.cut_short else "end_turn"

    def message(self, content, stop, output):
        return {
            "id": "msg_mock",
            "type": "message",
            "role": "assistant",
            "model": self.answer.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": self.answer.anthropic_usage(output),
        }

    def whole(self):
        content = [{"type": "text", "text": self.answer.text}]
        return self.message(content, self.stop, len(self.answer.deltas))

    def events(self):
        def event(kind, **members):
            return sse({"type": kind} | members, kind)

        yield False, event("message_start", message=self.message([], None, 1))
        block = {"type": "text", "text": ""}
        yield False, event("content_block_start", index=0, content_block=block)
        yield False, event("ping")
        for delta in self.answer.deltas:
            text = {"type": "text_delta", "text": delta}
            yield True, event("content_block_delta", index=0, delta=text)
        yield False, event("content_block_stop", index=0)
        usage = {
            "output_tokens": self.answer.anthropic_usage(len(self.answer.deltas))["output_tokens"]
        }
        stop = {"stop_reason": self.stop, "stop_sequence": None}
        yield False, event("message_delta", delta=stop, usage=usage)
        yield False, event("message_stop")


DIALECTS = {
    "/v1/chat/completions": Chat,
    "/v1/completions": Completions,
    "/v1/embeddings": Embeddings,
    "/v1/messages": Messages,
}


def error_body(path, status, message):
    if path.startswith("/v1/messages"):
        return {"type": "error", "error": {"type": "api_error", "message": message}}
    return {
        "error": {"message": message, "type": "mock_error", "param": None, "code": f"mock_{status}"}
    }
