// The client of POST /v1/streams: asks, goes on after a break where it was, and keeps what is shown. Next: page.js.

import { fetchWithKey, NoAccessError } from "/access.js";

const MOST_ATTEMPTS = 6;
const FIRST_PAUSE_MS = 250;
const SILENCE_MS = 30_000; // the server sends something every ten seconds

export class RefusedError extends Error {}

// What a person is shown. Offsets are Unicode code points, while JavaScript counts UTF-16 units: hence the array.
export class ShownText {
  points = [];
  committedCount = 0;
  retracted = "";
  epoch = 0;

  // Takes a `delta` event: writes or cuts the text at its offset. Later epochs show nothing beyond what is committed.
  take({ state, offset = 0, text = "", epoch = 0 }) {
    const written = [...text];
    const end = offset + written.length;
    const beyond = this.points.slice(end);
    if (state === "retracted" || (state === "withdrawn" && epoch > this.epoch)) {
      this.retracted = this.points.slice(offset).join("");
    }
    this.epoch = epoch;
    const kept = state === "retracted" || epoch > 0 ? [] : beyond;
    this.points = [...this.points.slice(0, offset), ...written, ...kept];
    if (state === "committed" || state === "withdrawn") this.committedCount = end;
  }

  get committed() {
    return this.points.slice(0, this.committedCount).join("");
  }

  get provisional() {
    return this.points.slice(this.committedCount).join("");
  }
}

// Asks, calls `onDelta` for each piece, and returns the published answer. A break is reported to `onBreak`, and the same
// request sent again with the id of the last event: it goes on from there. Throws `RefusedError` with the server's words.
export async function follow(asked, onDelta, onBreak) {
  let lastId = "";
  let refusal = new Error("the connection broke too often");
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt += 1) {
    if (attempt > 0) {
      onBreak();
      await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE_MS * 2 ** (attempt - 1)));
    }
    const events = eventsOf(asked, lastId);
    try {
      for (let event = await next(events); event; event = await next(events)) {
        lastId = event.id || lastId;
        if (event.event === "end") return event.published;
        if (event.event === "error") {
          refusal = new RefusedError(wordsOf(event));
          if (!event.is_resumable || event.code === "late") throw refusal;
          break;
        }
        if (event.event === "delta") {
          attempt = 0;
          onDelta(event);
        }
      }
    } finally {
      await events.return();
    }
  }
  throw refusal;
}

// The next event; nothing where the connection ended or broke.
async function next(events) {
  try {
    return (await events.next()).value;
  } catch (error) {
    if (error instanceof RefusedError || error instanceof NoAccessError) throw error;
    return undefined;
  }
}

// Each event of one connection as an object. Throws `RefusedError` where the request is turned away for good.
async function* eventsOf(asked, lastId) {
  const control = new AbortController();
  let silence;
  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(() => control.abort(), SILENCE_MS);
  };
  listen();
  try {
    const headers = { "content-type": "application/json", ...(lastId && { "last-event-id": lastId }) };
    const body = JSON.stringify({ type: "asked", can_retract: true, ...asked });
    const response = await fetchWithKey("/v1/streams", { method: "POST", headers, body, signal: control.signal });
    if (!response.ok) await refuse(response, lastId !== "");
    for await (const block of blocksOf(response.body, listen)) {
      const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
      if (data) yield JSON.parse(data);
    }
  } finally {
    clearTimeout(silence);
    control.abort();
  }
}

// The blocks of a stream of server-sent events, across every way in which the network may cut it in pieces.
export async function* blocksOf(body, onBytes) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onBytes();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    yield* blocks;
  }
}

// A site that is busy or closing may take the request again, once it has accepted it before.
async function refuse(response, isAccepted) {
  const isPassing = response.status === 429 || response.status === 503;
  if (isPassing && isAccepted) throw new Error("the site cannot go on now");
  const { error } = await response.json();
  throw new RefusedError(error.message);
}

const wordsOf = ({ reason, hint }) => (hint ? `${reason}: ${hint}` : reason);
