import "./browser";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Stream } from "../src/state/stream";
import type { Connection, Event } from "../src/state/types";
import { setHidden, setOnline } from "./browser";

/** A server of streams: each connection is held by the test. */
class Streams {
  readonly since: (string | null)[] = [];
  answers: (() => Response | Error)[] = [];
  /** The page has a connection. */
  isHeld = false;
  #out: ReadableStreamDefaultController<Uint8Array> | null = null;

  readonly fetch = async (url: URL, init: RequestInit): Promise<Response> => {
    this.since.push(new URL(url).searchParams.get("since"));
    const answer = this.answers.shift()?.() ?? this.#open(init.signal);
    if (answer instanceof Error) throw answer;
    return answer;
  };

  #open(signal: AbortSignal | null | undefined): Response {
    const body = new ReadableStream<Uint8Array>({
      start: (out) => {
        this.#out = out;
        this.isHeld = true;
        signal?.addEventListener("abort", () => {
          if (this.#out === out && this.isHeld) out.error(new DOMException("gone", "AbortError"));
          if (this.#out === out) this.isHeld = false;
        });
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  say(text: string): void {
    this.#out?.enqueue(new TextEncoder().encode(text));
  }

  tell(id: string, event: string, data: object): void {
    this.say(`id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  end(): void {
    if (this.isHeld) this.#out?.close();
    this.isHeld = false;
  }
}

function refusal(status: number, headers: Record<string, string> = {}): () => Response {
  return () => new Response("{}", { status, headers });
}

let server: Streams;
let cursor: string;
let heard: { id: string; event: Event }[];
let connections: Connection[];
let stream: Stream;
const tells = { gone: vi.fn(), lost: vi.fn(), unauthorized: vi.fn(), busy: vi.fn() };

beforeEach(() => {
  vi.useFakeTimers();
  vi.clearAllMocks();
  setOnline(true);
  setHidden(false);
  server = new Streams();
  vi.stubGlobal("fetch", server.fetch);
  cursor = "7";
  heard = [];
  connections = [];
  tells.lost.mockResolvedValue(undefined);
  tells.unauthorized.mockResolvedValue(false);
  tells.busy.mockReturnValue(false);
  stream = new Stream("c", {
    ...tells,
    cursor: () => cursor,
    event: (id, event) => {
      heard.push({ id, event });
      if (id !== "") cursor = id;
    },
    connection: (status) => connections.push(status),
  });
});
afterEach(() => {
  stream.stop();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const settle = (ms = 0) => vi.advanceTimersByTimeAsync(ms);

async function start(): Promise<void> {
  stream.start();
  await settle();
}

describe("a stream", () => {
  it("begins at the cursor and tells what it hears", async () => {
    await start();
    server.tell("8:2", "message.delta", { offset: 0, text: "ab" });
    await settle();
    expect(server.since).toEqual(["7"]);
    expect(heard).toEqual([
      { id: "8:2", event: { event: "message.delta", offset: 0, text: "ab" } },
    ]);
    expect(connections).toEqual(["connecting", "open"]);
  });

  it("goes on at the last id after an end", async () => {
    await start();
    server.tell("8:2", "message.delta", { offset: 0, text: "ab" });
    await settle();
    server.end();
    await settle(300);
    expect(server.since).toEqual(["7", "8:2"]);
    expect(connections).toEqual(["connecting", "open", "reconnecting", "reconnecting", "open"]);
  });

  it("waits longer from failure to failure, five seconds at most", async () => {
    server.answers = Array.from({ length: 40 }, () => () => new TypeError("no network"));
    await start();
    await settle(1500);
    const soon = server.since.length;
    expect(soon).toBeGreaterThanOrEqual(3);
    await settle(60_000);
    expect(server.since.length - soon).toBeGreaterThanOrEqual(11);
    expect(server.since.length - soon).toBeLessThanOrEqual(28);
  });

  it("does not run hot where each connection ends at once", async () => {
    await start();
    for (let n = 0; n < 60; n++) {
      server.end();
      await settle(500);
    }
    expect(server.since.length).toBeLessThan(20);
  });

  it("is dead after forty seconds of silence; comments are no silence", async () => {
    await start();
    for (let n = 0; n < 6; n++) {
      await settle(15_000);
      server.say(": ping\n\n");
    }
    expect(server.since.length).toBe(1);
    await settle(39_000);
    expect(server.since.length).toBe(1);
    await settle(2000);
    expect(server.since.length).toBe(2);
  });

  it("gives up waiting for an answer that doesn't come", async () => {
    vi.stubGlobal("fetch", (url: URL) => {
      server.since.push(new URL(url).searchParams.get("since"));
      return new Promise(() => {});
    });
    await start();
    await settle(41_000);
    expect(server.since.length).toBe(2);
  });

  it.each(["lifetime", "slow", "shutdown"])("comes again after %s", async (reason) => {
    await start();
    server.say(`event: stream.closing\ndata: {"reason":"${reason}"}\n\n`);
    await settle(300);
    expect(server.since.length).toBe(2);
  });

  it("is done once the conversation is deleted", async () => {
    await start();
    server.say('event: stream.closing\ndata: {"reason":"deleted"}\n\n');
    await settle(60_000);
    expect(server.since.length).toBe(1);
    expect(heard[0]?.event).toEqual({ event: "stream.closing", reason: "deleted" });
  });

  it("without a session asks for one, and goes on once there is", async () => {
    await start();
    tells.unauthorized.mockResolvedValue(true);
    server.say('event: stream.closing\ndata: {"reason":"unauthorized"}\n\n');
    await settle(300);
    expect(server.since.length).toBe(2);
    tells.unauthorized.mockResolvedValue(false);
    server.say('event: stream.closing\ndata: {"reason":"unauthorized"}\n\n');
    await settle(60_000);
    expect(server.since.length).toBe(2);
    stream.again();
    await settle();
    expect(server.since.length).toBe(3);
  });

  it("a 401 is the session's, and a session that doesn't help is not asked for hotly", async () => {
    server.answers = Array.from({ length: 200 }, () => refusal(401));
    tells.unauthorized.mockResolvedValue(true);
    await start();
    await settle(10_000);
    expect(tells.unauthorized.mock.calls.length).toBeLessThan(12);
  });

  it("a 404 is gone, for good", async () => {
    server.answers = [refusal(404)];
    await start();
    await settle(60_000);
    expect(tells.gone).toHaveBeenCalledTimes(1);
    expect(server.since.length).toBe(1);
  });

  it("a 400 has the first page read again, and begins there", async () => {
    server.answers = [refusal(400)];
    tells.lost.mockImplementation(async () => {
      cursor = "3";
    });
    await start();
    await settle(300);
    expect(server.since).toEqual(["7", "3"]);
  });

  it.each([429, 503])("%i waits as long as it says", async (status) => {
    server.answers = [refusal(status, { "retry-after": "9" })];
    await start();
    await settle(8900);
    expect(server.since.length).toBe(1);
    await settle(200);
    expect(server.since.length).toBe(2);
  });
});

describe("a browser", () => {
  it("that goes offline says so, and comes again at once when it is back", async () => {
    await start();
    server.answers = Array.from({ length: 9 }, () => () => new TypeError("no network"));
    setOnline(false);
    await settle(8000);
    expect(connections.at(-1)).toBe("offline");
    server.answers = [];
    const before = server.since.length;
    setOnline(true);
    await settle();
    expect(server.since.length).toBe(before + 1);
    expect(connections.at(-1)).toBe("open");
  });

  it("that nobody looks at lets go of its stream, and takes it up again", async () => {
    await start();
    setHidden(true);
    await settle(30_000);
    server.say(": ping\n\n");
    await settle(29_000);
    expect(server.isHeld).toBe(true);
    await settle(600_000);
    expect(server.isHeld).toBe(false);
    expect(server.since.length).toBe(1);
    setOnline(true);
    await settle(1000);
    expect(server.since.length).toBe(1);
    setHidden(false);
    await settle();
    expect(server.since.length).toBe(2);
    expect(connections.at(-1)).toBe("open");
  });

  it("keeps it while an answer is written", async () => {
    tells.busy.mockReturnValue(true);
    await start();
    setHidden(true);
    for (let n = 0; n < 12; n++) {
      await settle(15_000);
      server.say(": ping\n\n");
    }
    server.tell("9", "turn.updated", { seq: 9 });
    await settle();
    expect(heard.length).toBe(1);
  });

  it("that slept doesn't believe in what it held", async () => {
    await start();
    vi.setSystemTime(Date.now() + 3600_000);
    setHidden(false);
    await settle();
    expect(server.since.length).toBe(2);
  });
});
