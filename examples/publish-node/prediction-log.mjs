// Reports predictions and labels of one version to modeldrop, in arrays, without making the app wait.
import { randomBytes } from "node:crypto";

const MOST_EVENTS = 500; // an array may hold 1,000
const MOST_WAITING = 10_000;

export class PredictionLog {
  #waiting = [];
  #sending = new Set();
  #timer;
  dropped = 0;
  failed = 0;

  /** `topic`: of @google-cloud/pubsub; `flushMilliseconds`: how long an event waits for others. */
  constructor(topic, model, version, { flushMilliseconds = 1000 } = {}) {
    Object.assign(this, { topic, model, version });
    this.#timer = setInterval(() => this.#send(), flushMilliseconds).unref();
  }

  /** Report one prediction; returns its id, to be given to `label` later. */
  log(features, prediction, { latencyMs, status = "ok", timestamp = new Date() } = {}) {
    const id = uuid7(timestamp);
    this.#add({
      type: "prediction", model: this.model, version: this.version, prediction_id: id,
      timestamp: timestamp.toISOString(), features, prediction, latency_ms: latencyMs, status,
    });
    return id;
  }

  /** Report what turned out to be true. The id carries the time of the prediction. */
  label(predictionId, label) {
    this.#add({ type: "label", model: this.model, prediction_id: predictionId, label });
  }

  /** Send what waits; resolves when all of it was published or given up. Call it before the process ends. */
  async close() {
    clearInterval(this.#timer);
    do {
      this.#send();
      await Promise.all(this.#sending);
    } while (this.#waiting.length > 0);
  }

  #add(event) {
    if (this.#waiting.length >= MOST_WAITING) this.dropped += 1; // rather lose one than hold up the app
    else this.#waiting.push(event);
    if (this.#waiting.length >= MOST_EVENTS) this.#send();
  }

  #send() {
    while (this.#waiting.length > 0 && this.#sending.size < 8) {
      const events = this.#waiting.splice(0, MOST_EVENTS);
      const sent = this.topic
        .publishMessage({ json: events })
        .catch((error) => {
          this.failed += events.length;
          console.error(`predictions were not published: ${error.message}`);
        })
        .finally(() => {
          this.#sending.delete(sent);
          if (this.#waiting.length >= MOST_EVENTS) this.#send();
        });
      this.#sending.add(sent);
    }
  }
}

/** A UUIDv7 (RFC 9562): it begins with the time in milliseconds, so a label needs no `predicted_at`. */
export function uuid7(moment = new Date()) {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(moment.getTime(), 0, 6);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
