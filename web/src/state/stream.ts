/**
 * The event stream of one conversation, across as many connections as it takes.
 *
 * It begins at the cursor that `cursor()` names, each time anew: whatever was applied is not asked
 * for again, and nothing that wasn't is missed. Closing it changes nothing on the server.
 */
import { EventSource } from "eventsource";
import { retryAfterOf } from "../api";
import type { Connection, Event } from "./types";

const NAMES = [
  "message.created",
  "message.updated",
  "message.delta",
  "turn.updated",
  "conversation.updated",
  "stream.closing",
] as const satisfies readonly Event["event"][];

/** The server says something every 15 s; after this long the connection is dead. */
const SILENCE_MS = 40_000;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5000;
const HIDDEN_MS = 60_000;
/** A connection that held this long was a good one: the next failure is the first again. */
const GOOD_MS = 5000;

export interface StreamTells {
  cursor(): string;
  event(id: string, event: Event): void;
  connection(status: Connection): void;
  /** 404: there is no such conversation (any more). */
  gone(): void;
  /** 400: the cursor is none of this conversation. Resolves once the first page is read again. */
  lost(): Promise<void>;
  /** 401: true once there is a session again. */
  unauthorized(): Promise<boolean>;
  /** Whether a turn waits or runs: then a hidden tab goes on listening. */
  busy(): boolean;
}

export class Stream {
  readonly #path: string;
  readonly #tells: StreamTells;
  #source: EventSource | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #watchdog: ReturnType<typeof setTimeout> | undefined;
  #resting: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #pause = 0;
  #heardAt = 0;
  #openedAt = Number.POSITIVE_INFINITY;
  #stopped = true;

  constructor(conversationId: string, tells: StreamTells) {
    this.#path = `/api/chat/conversations/${conversationId}/events`;
    this.#tells = tells;
  }

  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    globalThis.addEventListener("online", this.#online);
    globalThis.addEventListener("offline", this.#offline);
    document.addEventListener("visibilitychange", this.#looked);
    if (document.hidden) this.#restLater();
    this.#connect();
  }

  stop(): void {
    this.#stopped = true;
    globalThis.removeEventListener("online", this.#online);
    globalThis.removeEventListener("offline", this.#offline);
    document.removeEventListener("visibilitychange", this.#looked);
    clearTimeout(this.#resting);
    this.#drop();
  }

  /** Begins again at the cursor, at once: with a new session, or a network that is back. */
  again(): void {
    if (this.#stopped) return;
    this.#failures = 0;
    this.#connect();
  }

  /** Begins again at the cursor, the later the more often that was needed: after a gap. */
  later(): void {
    this.#drop();
    if (this.#stopped) return;
    this.#failures = Date.now() - this.#openedAt > GOOD_MS ? 1 : this.#failures + 1;
    this.#openedAt = Number.POSITIVE_INFINITY;
    this.#tells.connection(this.#away());
    const grown = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#failures - 1));
    const pause = Math.max(this.#pause, grown * (0.5 + Math.random() / 2));
    this.#pause = 0;
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    clearTimeout(this.#watchdog);
    this.#source?.close();
    this.#source = null;
  }

  #connect(): void {
    this.#drop();
    this.#tells.connection(this.#failures === 0 ? "connecting" : this.#away());
    const url = `${this.#path}?since=${encodeURIComponent(this.#tells.cursor())}`;
    const source = new EventSource(new URL(url, location.href), { fetch: this.#fetch });
    this.#source = source;
    this.#heard();
    source.addEventListener("open", () => {
      if (source !== this.#source) return;
      this.#openedAt = Date.now();
      this.#tells.connection("open");
    });
    source.addEventListener("error", (error) => this.#failed(source, error.code));
    for (const name of NAMES) {
      source.addEventListener(name, (sent: MessageEvent<string>) => this.#hear(source, name, sent));
    }
  }

  #hear(source: EventSource, name: Event["event"], sent: MessageEvent<string>): void {
    if (source !== this.#source) return;
    const event = { event: name, ...JSON.parse(sent.data) } as Event;
    this.#tells.event(sent.lastEventId, event);
    if (event.event !== "stream.closing") return;
    if (event.reason === "deleted") this.stop();
    else if (event.reason === "unauthorized") void this.#refused();
    else this.later();
  }

  #failed(source: EventSource, code: number | undefined): void {
    if (source !== this.#source) return;
    // The library would come back to the address it began with; our cursor has moved since.
    this.#drop();
    if (code === 401) void this.#refused();
    else if (code === 404) {
      this.stop();
      this.#tells.gone();
    } else if (code === 400) void this.#tells.lost().then(() => this.later());
    else this.later();
  }

  async #refused(): Promise<void> {
    this.#drop();
    this.#tells.connection("connecting");
    if (await this.#tells.unauthorized()) this.later();
  }

  #away(): Connection {
    return navigator.onLine ? "reconnecting" : "offline";
  }

  readonly #fetch = async (url: string | URL, init: object): Promise<Response> => {
    const answer = await fetch(url, { ...init, credentials: "same-origin" } as RequestInit);
    this.#pause = (retryAfterOf(answer) ?? 0) * 1000;
    if (answer.body === null) return answer;
    this.#heard();
    // Comments are no events; here every byte is seen.
    const watched = new TransformStream<Uint8Array, Uint8Array>({
      transform: (piece, out) => {
        this.#heard();
        out.enqueue(piece);
      },
    });
    const { status, headers } = answer;
    const passed = new Response(answer.body.pipeThrough(watched), { status, headers });
    // A response that was made has no address, and the library looks at it.
    Object.defineProperty(passed, "url", { value: answer.url });
    return passed;
  };

  #heard(): void {
    if (this.#source === null) return;
    this.#heardAt = Date.now();
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.later(), SILENCE_MS);
  }

  readonly #online = (): void => {
    if (!this.#isResting()) this.again();
  };

  readonly #offline = (): void => {
    if (!this.#isResting()) this.later();
  };

  /** Browsers allow six connections to a host: a tab nobody looks at lets go of its own. */
  readonly #looked = (): void => {
    clearTimeout(this.#resting);
    // A machine that slept has lost its connections, and no timer has told.
    const silent = Date.now() - this.#heardAt > SILENCE_MS;
    if (document.hidden) this.#restLater();
    else if (silent || this.#source?.readyState !== EventSource.OPEN) this.again();
  };

  #isResting(): boolean {
    return document.hidden && this.#source === null && this.#timer === undefined;
  }

  #restLater(): void {
    this.#resting = setTimeout(() => {
      if (this.#tells.busy()) this.#restLater();
      else this.#drop();
    }, HIDDEN_MS);
  }
}
