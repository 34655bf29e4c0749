"""OpenAI's and Qwen's own tokenizers, loaded from the files that the images are made from."""

import base64
import functools
import unittest.mock

import tiktoken
import tiktoken_ext.openai_public
import tokenizers

from support.paths import ROOT

TABLES = ROOT / "build/tokenizer"


@functools.cache
def reference(encoding):
    lines = (TABLES / f"{encoding}.tiktoken").read_text().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in map(str.split, lines)}
    with unittest.mock.patch.object(
        tiktoken_ext.openai_public, "load_tiktoken_bpe", lambda *_, **__: ranks
    ):
        return tiktoken.Encoding(**getattr(tiktoken_ext.openai_public, encoding)())


@functools.cache
def qwen_reference():
    return tokenizers.Tokenizer.from_file(str(TABLES / "qwen2.json"))


def text_tokens(text, encoding="o200k_base"):
    return len(reference(encoding).encode_ordinary(text))


def chat_tokens(messages, encoding="o200k_base"):
    """By OpenAI's cookbook, for messages of strings."""
    named = sum("name" in message for message in messages)
    texts = [text for message in messages for text in message.values()]
    return 3 * len(messages) + named + 3 + sum(text_tokens(text, encoding) for text in texts)
