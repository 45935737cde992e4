// node publish.mjs [COUNT]: asks the model about flights, and reports what it answered and what turned out to be true.
// Needs GOOGLE_CLOUD_PROJECT; PUBSUB_EMULATOR_HOST for the emulator; MODELDROP_URL for the model's address.
import { readFile } from "node:fs/promises";
import { PubSub } from "@google-cloud/pubsub";
import { PredictionLog } from "./prediction-log.mjs";

const address = process.env.MODELDROP_URL ?? "http://127.0.0.1:8080";
const count = Number(process.argv[2] ?? 300);
const lines = (await readFile(new URL("../flights/rows.jsonl", import.meta.url), "utf8")).trim().split("\n");
const flights = lines.slice(0, count).map((line) => JSON.parse(line));

const pubsub = new PubSub({ projectId: process.env.GOOGLE_CLOUD_PROJECT });
let log;
for (const { features, label } of flights) {
  const begin = performance.now();
  const response = await fetch(`${address}/v1/endpoints/flights:predict`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ instances: [features] }),
  });
  if (!response.ok) throw new Error(`the model answers ${response.status}: ${await response.text()}`);
  const { predictions, modelVersionId } = await response.json();
  if (log?.version !== modelVersionId) {
    await log?.close(); // during a rollout answers come from two versions; each has a log of its own
    log = new PredictionLog(pubsub.topic("predictions"), "flights", modelVersionId);
  }
  const id = log.log(features, predictions[0], { latencyMs: performance.now() - begin });
  log.label(id, label); // a flight's label is known here at once; elsewhere it comes days later
}
await log?.close();
await pubsub.close();
console.log(`${flights.length} predictions and their labels, ${log?.failed ?? 0} failed, ${log?.dropped ?? 0} dropped`);
