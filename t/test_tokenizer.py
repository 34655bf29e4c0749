"""Token counts beside OpenAI's own tokenizer and, for Qwen, HuggingFace's, loaded from the files that the
images are made from."""

import os
import random
import struct
import subprocess
import unicodedata

import pytest

from support.paths import ROOT
from support.tokens import TABLES, qwen_reference, reference

COUNT = ROOT / "build/count-tokens"
TEXTS = int(os.environ.get("LLM_RANDOM_TEXTS", 100_000))

ENDS = ["the", " The", "'s", "'LL", "HTTP", "Server", "\n\n", "  ", "    ", " \n", "://", "中文",
        "测试", "日本", "\u200d", "👨", "👩", " of", "ing", "ʰ", "ǅ", "한국", "ไทย", "नमस्ते", "мир",
        "<|endoftext|>", ".\n\n//"]
SETS = [" \t\n\r\x0b\x0c\x85\xa0\u2003\u2028\u3000\u200b\ufeff", "'’`\"sStTdDmMlLvVrReE\u017f",
        "0123456789½٣Ⅷ²", "/\\-=*#_!?.,;:()[]{}<>"]
RANGES = [(0x20, 0x7f), (0, 0x80), (0, 0xd800), (0xe000, 0x110000), (0xc0, 0x250), (0x300, 0x370),
          (0x370, 0x600), (0x900, 0xe80), (0x1c80, 0x2200), (0x3040, 0x3100), (0x4e00, 0xa000),
          (0xa640, 0xab70), (0xac00, 0xd7a4), (0x10000, 0x13000), (0x1d400, 0x1d800),
          (0x1f300, 0x1fb00)]


def random_text(source):
    """A few kinds of characters, short runs of one among them; sizes from 1 to some hundreds."""
    kinds = [lambda: source.choice(ENDS)]
    kinds += [lambda chars=chars: source.choice(chars) for chars in SETS]
    kinds += [lambda span=span: chr(source.randrange(*span)) for span in RANGES]
    chosen = source.sample(kinds, source.randrange(1, 5))
    size = int(2 ** (source.random() * source.choice((3, 5, 7, 9))))
    parts = []
    while len(parts) < size:
        part = source.choice(chosen)()
        parts.append(part * source.randrange(1, 20) if source.random() < .1 else part)
    return "".join(parts)


def count(encoding, texts, cut):
    """For each text its tokens and whether they are exact."""
    counted = subprocess.run(
        [COUNT, TABLES / f"{encoding}.image", encoding, str(cut)], check=True, capture_output=True,
        input=b"".join(struct.pack("<I", len(raw)) + raw for raw in map(str.encode, texts)))
    rows = [tuple(map(int, line.split())) for line in counted.stdout.splitlines()]
    assert len(rows) == len(texts)
    return rows


@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
@pytest.mark.parametrize("cut", [0, 5])
def test_counts_as_openai_does(encoding, cut):
    source = random.Random(encoding)
    texts = [random_text(source) for _ in range(TEXTS)]
    exact = reference(encoding)
    different = [text for text, row in zip(texts, count(encoding, texts, cut))
                 if row != (len(exact.encode_ordinary(text)), 1)]
    assert not different, f"{len(different)} texts, the shortest {min(different, key=len)!a}"


def is_plain(text):
    """Whether Qwen's tokenizer takes it as it is."""
    return unicodedata.is_normalized("NFC", text) and "<|" not in text


@pytest.mark.parametrize("cut", [0, 5])
def test_counts_as_qwen_does_or_says_that_it_may_not(cut):
    source = random.Random("qwen2")
    texts = [random_text(source) for _ in range(TEXTS)]
    rows = count("qwen2", texts, cut)
    encoded = qwen_reference().encode_batch_fast(texts)
    different = [text for text, (tokens, exact), encoding in zip(texts, rows, encoded)
                 if exact and (tokens != len(encoding) or not is_plain(text))]
    assert not different, f"{len(different)} texts, the shortest {min(different, key=len)!a}"
    doubted = sum(is_plain(text) and not exact for text, (_, exact) in zip(texts, rows))
    assert doubted < 0.02 * TEXTS
