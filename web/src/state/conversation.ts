/**
 * One conversation as the page knows it, and how an event changes it. Pure: no clock, no network.
 *
 * A stream may be cut anywhere and go on, and may say again what was said. So whatever is known
 * already changes nothing (the very same object comes back, and nothing is drawn again), and a
 * piece of text that does not fit sets `gap`: the stream is then to begin at the last change.
 */
import type { ConversationState, Event, LiveText, Message, ToolCall, Turn } from "./types";

export interface HistoryPage {
  messages: readonly Message[];
  turns: readonly Turn[];
  next_since: number;
  has_more: boolean;
}

export function empty(): ConversationState {
  return {
    conversation: null,
    messages: [],
    turns: {},
    live: null,
    cursor: "",
    gap: false,
    hasOlder: false,
    deleted: false,
  };
}

/** The newest page, which a stream goes on from; or an older one, put before the others. */
export function applyPage(state: ConversationState, page: HistoryPage): ConversationState {
  const first = state.cursor === "";
  const messages = page.messages.reduce(putMessage, state.messages);
  return {
    ...state,
    messages,
    turns: page.turns.reduce(putTurn, state.turns),
    cursor: first ? String(page.next_since) : state.cursor,
    hasOlder: page.has_more,
  };
}

export function seqOf(cursor: string): number {
  return Number(cursor.split(":", 1)[0]);
}

/** `id` is the event's; an event without one (`stream.closing`) moves no cursor. */
export function applyEvent(state: ConversationState, id: string, event: Event): ConversationState {
  switch (event.event) {
    case "message.delta":
      return applyDelta(state, id, event);
    case "message.created":
    case "message.updated": {
      if (event.seq <= seqOf(state.cursor)) return state;
      const messages = isBeyond(state, event.message)
        ? state.messages
        : putMessage(state.messages, event.message);
      return moved({ ...state, messages }, event.seq, event.message.role !== "user");
    }
    case "turn.updated": {
      if (event.seq <= seqOf(state.cursor)) return state;
      const { turn } = event;
      const base = turn.status !== "queued" || turn.attempt > 0;
      return moved({ ...state, turns: putTurn(state.turns, turn) }, event.seq, base);
    }
    case "conversation.updated":
      if (event.seq <= seqOf(state.cursor)) return state;
      return moved({ ...state, conversation: event.conversation }, event.seq, false);
    case "stream.closing":
      if (event.reason !== "deleted" || state.deleted) return state;
      return { ...state, deleted: true, live: null };
    default:
      return unheard(event, state);
  }
}

/** The set of names is closed; one that a newer server says is ignored. */
function unheard(_: never, state: ConversationState): ConversationState {
  return state;
}

/** A change of what lies on a page not read yet: it comes with its page, which then has no hole. */
function isBeyond({ messages, hasOlder }: ConversationState, message: Message): boolean {
  return hasOlder && message.seq < (messages[0]?.seq ?? 0);
}

/** Changes that move the base void the text in flight (`moves_base` in `shared/events.py`). */
function moved(state: ConversationState, seq: number, base: boolean): ConversationState {
  const live = base ? null : state.live;
  const cursor = live === null ? String(seq) : `${seq}:${live.length}`;
  return { ...state, live, cursor, gap: base ? false : state.gap };
}

type Delta = Extract<Event, { event: "message.delta" }>;

function applyDelta(state: ConversationState, id: string, delta: Delta): ConversationState {
  if (!isExpected(state, id, delta)) return state;
  const live = goesOn(state.live, delta) ? state.live : begun(delta);
  const known = live.length - delta.offset;
  if (known < 0) return state.gap ? state : { ...state, gap: true };
  const points = Array.from(delta.text);
  if (known >= points.length) return state;
  const fresh = points.slice(known);
  const length = live.length + fresh.length;
  return {
    ...state,
    live: { ...live, text: live.text + fresh.join(""), length },
    cursor: `${seqOf(state.cursor)}:${length}`,
    gap: false,
  };
}

function goesOn(live: LiveText | null, delta: Delta): live is LiveText {
  return live?.messageId === delta.message_id && live.attempt === delta.attempt;
}

function begun(delta: Delta): LiveText {
  const { turn_id: turnId, message_id: messageId, attempt } = delta;
  return { turnId, messageId, attempt, text: "", length: 0 };
}

function isExpected(state: ConversationState, id: string, delta: Delta): boolean {
  const turn = state.turns[delta.turn_id];
  if (turn !== undefined && (delta.attempt < turn.attempt || turn.finished_at !== null)) {
    return false;
  }
  const { live } = state;
  if (live?.turnId === delta.turn_id && delta.attempt < live.attempt) return false;
  if (seqOf(id) < seqOf(state.cursor)) return false;
  return !state.messages.some((message) => message.id === delta.message_id);
}

/**
 * The stream is to begin again at the last change. All of the text comes once more; what is shown
 * of it stays meanwhile, as the beginning of it is the same.
 */
export function beginAgain(state: ConversationState): ConversationState {
  return { ...state, gap: false, cursor: String(seqOf(state.cursor)) };
}

export function withTurn(state: ConversationState, turn: Turn): ConversationState {
  const turns = putTurn(state.turns, turn);
  return turns === state.turns ? state : { ...state, turns };
}

function putTurn(
  turns: Readonly<Record<string, Turn>>,
  turn: Turn,
): Readonly<Record<string, Turn>> {
  const known = turns[turn.id];
  return known !== undefined && known.seq >= turn.seq ? turns : { ...turns, [turn.id]: turn };
}

function putMessage(messages: readonly Message[], message: Message): readonly Message[] {
  const place = messages.findIndex((one) => one.seq >= message.seq);
  const there = place >= 0 && messages[place]?.id === message.id;
  const before = place < 0 ? messages : messages.slice(0, place);
  const after = place < 0 ? [] : messages.slice(there ? place + 1 : place);
  if (message.status === "withdrawn") return there ? [...before, ...after] : messages;
  const shown = there ? kept(messages[place] as Message, message) : message;
  if (there && shown === messages[place]) return messages;
  return joined([...before, shown, ...after], shown);
}

/** A message never goes back: a history page may be older than the events. */
function kept(known: Message, given: Message): Message {
  if (JSON.stringify(known) === JSON.stringify(given)) return known;
  const settled = known.status !== "running" && known.status !== "awaiting_approval";
  const open = given.status === "running" || given.status === "awaiting_approval";
  return settled && open ? known : given;
}

/** The result side of a call is read from the tool message, as `GET` does. */
function joined(messages: Message[], changed: Message): Message[] {
  if (changed.role === "user") return messages;
  return messages.map((message) => {
    if (message.tool_calls === null || message.turn_id !== changed.turn_id) return message;
    const calls = message.tool_calls.map((call) => withResult(call, message, messages));
    return calls.every((call, n) => call === message.tool_calls?.[n])
      ? message
      : { ...message, tool_calls: calls };
  });
}

function withResult(call: ToolCall, asker: Message, messages: readonly Message[]): ToolCall {
  const tool = messages.find(
    (one) => one.role === "tool" && one.tool_call_id === call.id && one.turn_id === asker.turn_id,
  );
  if (tool === undefined) return call;
  const { duration_ms } = tool.metadata as Partial<ToolCall>;
  const found: ToolCall = {
    ...call,
    status: tool.status,
    result: resultOf(tool),
    started_at: startedAt(tool),
    duration_ms: duration_ms ?? null,
  };
  return JSON.stringify(found) === JSON.stringify(call) ? call : found;
}

/** Where a word was awaited it began later than its message; Postgres wrote that time down. */
function startedAt({ metadata, created_at }: Message): string | null {
  const { approval, started_at } = metadata as { approval?: string; started_at?: string };
  if (approval === undefined) return created_at;
  const padded = started_at?.replace(/\.\d+/, (fraction) => fraction.padEnd(7, "0"));
  return padded?.replace("+00:00", "Z") ?? null;
}

function resultOf(tool: Message): unknown {
  if (tool.status === "running" || tool.status === "awaiting_approval") return null;
  try {
    return JSON.parse(tool.content);
  } catch {
    return tool.content;
  }
}
