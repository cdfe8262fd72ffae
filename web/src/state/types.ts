/** What the page knows, and what it can do. The shapes of the wire are generated. */

import type { components } from "../generated/wire";

type Schemas = components["schemas"];

export type Conversation = Schemas["Conversation"];
export type Message = Schemas["Message"];
export type ToolCall = Schemas["ToolCall"];
export type Turn = Schemas["Turn"];
export type Task = Schemas["Task"];
export type Problem = Schemas["Problem"];
export type SearchResult = Schemas["SearchResult"];
export type OnBusy = NonNullable<Schemas["NewMessage"]["on_busy"]>;
export type Event = Schemas["Event"];

/** Text being streamed: `length` counts code points, as offsets do. */
export interface LiveText {
  turnId: string;
  messageId: string;
  attempt: number;
  text: string;
  length: number;
}

/** One conversation as this page sees it: what `GET` shows, plus the text in flight. */
export interface ConversationState {
  conversation: Conversation | null;
  /** In the order of `seq`; withdrawn ones are left out. */
  messages: readonly Message[];
  turns: Readonly<Record<string, Turn>>;
  live: LiveText | null;
  /** The `id` of the last event applied: where a stream goes on. */
  cursor: string;
  /** Something is missing: the stream must begin again at the last change. */
  gap: boolean;
  hasOlder: boolean;
  deleted: boolean;
}

/** A message on its way: it keeps its key until the server has answered it. */
export interface Pending {
  key: string;
  content: string;
  onBusy: OnBusy;
  status: "sending" | "failed";
  /** The last change that was known when it was said. */
  after: number;
  /** When it was said, or said again. */
  at: number;
  /** Why it was refused; null where only the network failed. */
  problem: Problem | null;
}

export type Connection = "connecting" | "open" | "reconnecting" | "offline";

/** What there is to see of an open conversation. */
export interface Shown {
  state: ConversationState;
  pending: readonly Pending[];
  connection: Connection;
  /** The first page has arrived. */
  loaded: boolean;
  /** It was begun on this page: nothing in it was there before. */
  isNew: boolean;
  /** The problem that keeps it from being shown, a 404 for one. */
  problem: Problem | null;
  loadingOlder: boolean;
}

/** What `useConversation(id)` gives to the view. */
export interface ConversationView extends Shown {
  send(content: string, onBusy?: OnBusy): void;
  resend(key: string): void;
  discard(key: string): void;
  cancel(turnId: string): Promise<void>;
  retry(turnId: string): Promise<void>;
  decide(
    turnId: string,
    toolCallId: string,
    decision: "approve" | "deny",
    reason?: string,
  ): Promise<void>;
  loadOlder(): Promise<void>;
}
