// Calls the gateway as a user of OpenAI's Node SDK would, and prints what it saw as one line of JSON.
// usage: node chat.mjs BASE_URL KEY REQUEST_JSON      (in the directory with node_modules)
import { createRequire } from "node:module";

const { OpenAI } = createRequire(process.cwd() + "/")("openai");
const [baseURL, apiKey, request] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 30_000 });

async function call(body) {
  const answer = await client.chat.completions.create(body);
  if (!body.stream) {
    return { text: answer.choices[0].message.content, usage: answer.usage };
  }
  const seen = { text: "", usage: null, chunks: 0 };
  for await (const chunk of answer) {
    seen.chunks += 1;
    seen.text += chunk.choices[0]?.delta?.content ?? "";
    seen.usage = chunk.usage ?? seen.usage;
  }
  return seen;
}

try {
  console.log(JSON.stringify(await call(JSON.parse(request))));
} catch (error) {
  const { status, code, type, param } = error;
  console.log(JSON.stringify({ error: { status, code, type, param } }));
}
