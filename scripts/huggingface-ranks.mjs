// node huggingface-ranks.mjs TOKENIZER_JSON: writes the byte-level BPE of a HuggingFace tokenizer.json
// as a rank file ("base64 rank" lines), which says the same: a token's rank is its id, and its merge
// has that place among the merges.

import { readFileSync } from 'node:fs';

const kByteTokens = 256;

// GPT-2's letters for bytes: the printable ones of Latin-1 stand for themselves, the rest in order for
// U+0100 and so on.
function byteOfLetter() {
    const isPrintable = (byte) =>
        (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
    const bytes = new Map();
    let next = 0x100;
    for (let byte = 0; byte < 256; byte++) {
        bytes.set(String.fromCharCode(isPrintable(byte) ? byte : next++), byte);
    }
    return bytes;
}

const { vocab, merges } = JSON.parse(readFileSync(process.argv[2], 'utf8')).model;
const tokens = Object.keys(vocab).sort((a, b) => vocab[a] - vocab[b]);
if (!tokens.every((token, rank) => vocab[token] === rank)) {
    throw new Error('the ids of the vocabulary have a gap');
}
if (!merges.every(([left, right], i) => vocab[left + right] === kByteTokens + i)) {
    throw new Error('the merges are not in the order of the ids');
}
const bytes = byteOfLetter();
for (const [rank, token] of tokens.entries()) {
    const raw = Buffer.from(Array.from(token, (letter) => bytes.get(letter)));
    process.stdout.write(`${raw.toString('base64')} ${rank}\n`);
}
