/** Event logs of the real service, and the service as a client meets it when it comes again. */
import { readdirSync, readFileSync } from "node:fs";
import {
  applyEvent,
  applyPage,
  beginAgain,
  empty,
  type HistoryPage,
  seqOf,
} from "../src/state/conversation";
import type { ConversationState, Event, Message, Turn } from "../src/state/types";

export interface Told {
  id: string;
  event: Event;
}

interface Shown {
  messages: Message[];
  turns: Turn[];
}

export interface Recorded {
  name: string;
  before: Shown;
  after: Shown;
  told: Told[];
}

type Change = Extract<Event, { seq: number }>;
type Delta = Extract<Event, { event: "message.delta" }>;

const FOLDER = new URL("../../tests/golden/", import.meta.url);

function readLog(file: string): Recorded {
  const log = JSON.parse(readFileSync(new URL(file, FOLDER), "utf8"));
  const told = log.events.map(
    ({ id, event, data }: { id: string; event: string; data: object }) => ({
      id,
      event: { event, ...data },
    }),
  );
  return { ...log, told };
}

export const LOGS: Recorded[] = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".json"))
  .sort()
  .map(readLog);

export function isDelta(event: Event): event is Delta {
  return event.event === "message.delta";
}

function isChange(event: Event): event is Change {
  return "seq" in event;
}

/** `moves_base` in `shared/events.py`. */
function movesBase(event: Change): boolean {
  if (event.event === "turn.updated") {
    return event.turn.status !== "queued" || event.turn.attempt > 0;
  }
  return event.event !== "conversation.updated" && event.message.role !== "user";
}

/** What the first page showed before the log began. */
export function firstPage({ before, told }: Recorded): HistoryPage {
  const first = told[0] as Told;
  const next_since = isChange(first.event) ? first.event.seq - 1 : seqOf(first.id);
  return { ...before, next_since, has_more: false };
}

export function begun(log: Recorded): ConversationState {
  return applyPage(empty(), firstPage(log));
}

export function shownBy({ messages, turns }: ConversationState): Shown {
  return { messages: [...messages], turns: Object.values(turns) };
}

export function pointsOf(text: string): string[] {
  return Array.from(text);
}

/** The same text in other pieces. */
export function cutDeltas(told: Told[], sizes: readonly number[]): Told[] {
  let turn = 0;
  return told.flatMap(({ id, event }): Told[] => {
    if (!isDelta(event)) return [{ id, event }];
    const points = pointsOf(event.text);
    const pieces: Told[] = [];
    for (let at = 0; at < points.length; ) {
      const text = points.slice(at, at + (sizes[turn++ % sizes.length] ?? 1)).join("");
      const offset = event.offset + at;
      at += pointsOf(text).length;
      pieces.push({ id: `${seqOf(id)}:${event.offset + at}`, event: { ...event, offset, text } });
    }
    return pieces;
  });
}

/** What a stream says first that begins at the cursor: the rows changed since, then the text. */
export function replayOf(past: readonly Told[], cursor: string, log: Recorded): Told[] {
  const since = seqOf(cursor);
  const latest = new Map<string, Change>();
  let base = 0;
  let live: Delta[] = [];
  let last = seqOf(String(firstPage(log).next_since));
  for (const { event } of past) {
    if (isDelta(event)) live.push(event);
    if (!isChange(event)) continue;
    latest.set(keyOf(event), event);
    last = event.seq;
    if (!movesBase(event)) continue;
    base = event.seq;
    live = [];
  }
  const changes = [...latest.values()]
    .filter((event) => event.seq > since)
    .sort((a, b) => a.seq - b.seq)
    .map((event) => asRow(event, since, latest, log));
  const seen = base > since ? 0 : Number(cursor.split(":")[1] ?? 0);
  const points = pointsOf(live.map(({ text }) => text).join(""));
  const head = live[0];
  const told = changes.map((event) => ({ id: String(event.seq), event: event as Event }));
  if (head === undefined || head.offset > 0 || points.length <= seen) return told;
  const text = points.slice(seen).join("");
  return [...told, { id: `${last}:${points.length}`, event: { ...head, offset: seen, text } }];
}

function keyOf(event: Change): string {
  if (event.event === "turn.updated") return event.turn.id;
  return event.event === "conversation.updated" ? "conversation" : event.message.id;
}

/** A row as it is now: created for whoever hasn't seen it, calls with the results there are. */
function asRow(
  event: Change,
  since: number,
  latest: ReadonlyMap<string, Change>,
  { after }: Recorded,
): Change {
  if (event.event !== "message.created" && event.event !== "message.updated") return event;
  const { message } = event;
  const unseen = message.seq > since && message.status !== "withdrawn";
  const done = new Set(
    [...latest.values()].map((one) =>
      "message" in one && ["completed", "failed"].includes(one.message.status)
        ? one.message.tool_call_id
        : null,
    ),
  );
  const results = after.messages.find(({ id }) => id === message.id)?.tool_calls;
  const tool_calls =
    message.tool_calls?.map((call) =>
      done.has(call.id) ? (results?.find(({ id }) => id === call.id) ?? call) : call,
    ) ?? null;
  return {
    event: unseen ? "message.created" : "message.updated",
    seq: event.seq,
    message: { ...message, tool_calls },
  };
}

/** A page that follows a log over as many connections as it likes. */
export class Follower {
  state: ConversationState;
  at = 0;
  gaps = 0;
  readonly #log: Recorded;
  readonly #told: Told[];
  readonly #heard: Told[] = [];

  constructor(log: Recorded, told: Told[]) {
    this.#log = log;
    this.#told = told;
    this.state = begun(log);
  }

  get ended(): boolean {
    return this.at >= this.#told.length;
  }

  hear(told: Told): void {
    const { id, event } = told;
    this.#heard.push(told);
    this.state = applyEvent(this.state, id, event);
    if (!this.state.gap) return;
    this.gaps += 1;
    this.state = beginAgain(this.state);
    this.comeAgain();
  }

  advance(count: number): void {
    for (let n = 0; n < count && !this.ended; n++) {
      const next = this.#told[this.at++] as Told;
      this.hear(next);
    }
  }

  comeAgain(): void {
    const past = this.#told.slice(0, this.at);
    for (const told of replayOf(past, this.state.cursor, this.#log)) this.hear(told);
  }

  /** The last ones once more, which must be nothing new. */
  double(count: number): void {
    const before = this.state;
    for (const told of this.#heard.slice(-count)) this.hear(told);
    if (this.state !== before) throw new Error("what was known changed something");
  }

  /** Pieces of text that got lost without anybody noticing. */
  lose(count: number): void {
    for (let n = 0; n < count; n++) {
      const next = this.#told[this.at];
      if (next === undefined || !isDelta(next.event)) return;
      this.at += 1;
    }
  }
}
