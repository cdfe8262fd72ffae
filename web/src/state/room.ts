/** One conversation, open: its state, its stream and its outbox, outside of any view. */
import { call, client, ProblemError } from "../api";
import { ofPerson, read, write } from "../keep";
import { onRenewal, renew } from "../session";
import { Store } from "../store";
import {
  applyEvent,
  applyPage,
  beginAgain,
  empty,
  type HistoryPage,
  seqOf,
  withTurn,
} from "./conversation";
import { conversationsChanged, putConversation, tasksChanged } from "./lists";
import { notYetShown, Outbox } from "./outbox";
import { Stream } from "./stream";
import type { Connection, ConversationState, Event, OnBusy, Pending, Problem, Turn } from "./types";

const PAGE = 50;
const UNSEEN_MS = 100;
const RETRY_MS = 1000;
const ENDED = new Set(["completed", "failed", "cancelled"]);

export interface Shown {
  state: ConversationState;
  pending: readonly Pending[];
  connection: Connection;
  loaded: boolean;
  problem: Problem | null;
  loadingOlder: boolean;
}

export class Room {
  readonly id: string;
  readonly shown: Store<Shown>;
  #state = empty();
  #rest: Omit<Shown, "state" | "pending"> = {
    connection: "connecting",
    loaded: false,
    problem: null,
    loadingOlder: false,
  };
  readonly #outbox: Outbox;
  readonly #stream: Stream;
  #open = 0;
  #due = false;
  #forget: (() => void) | null = null;

  constructor(id: string) {
    this.id = id;
    const name = ofPerson(`outbox:${id}`);
    this.#outbox = new Outbox(
      {
        read: () => read<readonly Pending[]>(name, []),
        write: (pending) => write(name, pending.length === 0 ? null : pending),
      },
      (pending) => this.#post(pending),
      () => this.#show(),
    );
    this.#stream = new Stream(id, {
      cursor: () => this.#state.cursor,
      event: (cursor, event) => this.#hear(cursor, event),
      connection: (connection) => this.#know({ connection }),
      gone: () => this.#gone(),
      lost: () => this.#reload(),
      unauthorized: renew,
      busy: () => activeTurn(this.#state) !== null,
    });
    this.shown = new Store(this.#snapshot());
  }

  /** Somebody looks at it, as long as they don't call what is returned. */
  open(): () => void {
    this.#open += 1;
    if (this.#open === 1) this.#begin();
    return () => {
      this.#open -= 1;
      if (this.#open > 0) return;
      this.#forget?.();
      this.#stream.stop();
    };
  }

  #begin(): void {
    const stop = onRenewal(() => {
      void this.#outbox.send();
      if (this.#rest.loaded) this.#stream.again();
      else void this.#load();
    });
    const online = () => void this.#outbox.send();
    addEventListener("online", online);
    this.#forget = () => {
      stop();
      removeEventListener("online", online);
    };
    void this.#outbox.send();
    if (this.#rest.loaded) this.#stream.start();
    else void this.#load();
  }

  async #load(): Promise<void> {
    try {
      const path = { conversation_id: this.id };
      const [conversation, page] = await Promise.all([
        call(() => client.GET("/api/chat/conversations/{conversation_id}", { params: { path } })),
        this.#page({ limit: PAGE }),
      ]);
      this.#state = applyPage({ ...this.#state, conversation }, page);
      if (conversation.active_turn !== null) {
        this.#state = withTurn(this.#state, conversation.active_turn);
      }
      this.#know({ loaded: true, problem: null });
      if (this.#open > 0) this.#stream.start();
    } catch (error) {
      this.#refused(error);
    }
  }

  #refused(error: unknown): void {
    if (
      error instanceof ProblemError &&
      error.problem.status < 500 &&
      error.problem.status !== 429
    ) {
      if (error.problem.status !== 401) this.#know({ problem: error.problem });
      return;
    }
    this.#know({ connection: navigator.onLine ? "reconnecting" : "offline" });
    setTimeout(() => this.#open > 0 && void this.#load(), RETRY_MS);
  }

  #page(query: { limit: number; before?: string }): Promise<HistoryPage> {
    const params = { path: { conversation_id: this.id }, query };
    return call(() => client.GET("/api/chat/conversations/{conversation_id}/messages", { params }));
  }

  #reload(): void {
    this.#stream.stop();
    this.#state = empty();
    this.#know({ loaded: false });
    void this.#load();
  }

  #gone(): void {
    this.#state = { ...this.#state, deleted: true };
    this.#show();
    conversationsChanged();
  }

  #hear(cursor: string, event: Event): void {
    const before = this.#state;
    this.#state = applyEvent(before, cursor, event);
    if (this.#state === before) return;
    if (this.#state.gap) {
      this.#state = beginAgain(this.#state);
      this.#stream.again();
    }
    this.#pass(event);
    this.#show();
  }

  /** What others on the page want to know at once. */
  #pass(event: Event): void {
    if (event.event === "conversation.updated") {
      const { title } = event.conversation;
      putConversation(this.id, () => ({ title }));
    }
    if (event.event === "turn.updated") {
      const active_turn = activeTurn(this.#state);
      putConversation(this.id, () => ({ active_turn }));
      if (ENDED.has(event.turn.status) || event.turn.status === "queued") conversationsChanged();
    }
    if (event.event === "message.created") {
      putConversation(this.id, ({ message_count }) => ({ message_count: message_count + 1 }));
    }
    if ("message" in event && event.message.role === "tool" && event.message.status === "completed")
      tasksChanged();
    if (this.#state.deleted) conversationsChanged();
  }

  async #post(pending: Pending) {
    const { key, content, onBusy: on_busy } = pending;
    const params = { path: { conversation_id: this.id }, header: { "Idempotency-Key": key } };
    const body = { content, on_busy };
    const { message, turn } = await call(() =>
      client.POST("/api/chat/conversations/{conversation_id}/messages", { params, body }),
    );
    // Told by the stream in its order; shown at once, so that nothing flickers meanwhile.
    this.#committed = [...this.#committed, message];
    this.#state = withTurn(this.#state, turn);
    return message;
  }

  /** Answered, and not told by the stream yet. */
  #committed: ConversationState["messages"] = [];

  send(content: string, onBusy: OnBusy = "enqueue"): void {
    this.#outbox.add(content, onBusy, this.#known());
  }

  #known(): number {
    return this.#state.cursor === "" ? 0 : seqOf(this.#state.cursor);
  }

  readonly resend = (key: string): void => this.#outbox.resend(key);
  readonly discard = (key: string): void => this.#outbox.discard(key);

  async cancel(turnId: string): Promise<void> {
    const params = { path: { turn_id: turnId } };
    this.#turn(await call(() => client.POST("/api/chat/turns/{turn_id}/cancel", { params })));
  }

  async retry(turnId: string): Promise<void> {
    const params = { path: { turn_id: turnId } };
    this.#turn(await call(() => client.POST("/api/chat/turns/{turn_id}/retry", { params })));
  }

  async decide(
    turnId: string,
    tool_call_id: string,
    decision: "approve" | "deny",
    reason = "",
  ): Promise<void> {
    const params = { path: { turn_id: turnId } };
    const body = { tool_call_id, decision, reason };
    this.#turn(
      await call(() => client.POST("/api/chat/turns/{turn_id}/approvals", { params, body })),
    );
  }

  #turn(turn: Turn): void {
    this.#state = withTurn(this.#state, turn);
    this.#show();
  }

  async loadOlder(): Promise<void> {
    const oldest = this.#state.messages[0];
    if (this.#rest.loadingOlder || !this.#state.hasOlder || oldest === undefined) return;
    this.#know({ loadingOlder: true });
    try {
      this.#state = applyPage(
        this.#state,
        await this.#page({ limit: PAGE, before: String(oldest.seq) }),
      );
    } finally {
      this.#know({ loadingOlder: false });
    }
  }

  #know(known: Partial<Shown>): void {
    this.#rest = { ...this.#rest, ...known };
    this.#show();
  }

  /** At most once a frame, however fast the words come. */
  #show(): void {
    if (this.#due) return;
    this.#due = true;
    const draw = () => {
      this.#due = false;
      this.shown.set(this.#snapshot());
    };
    if (document.hidden) setTimeout(draw, UNSEEN_MS);
    else requestAnimationFrame(draw);
  }

  #snapshot(): Shown {
    const known = new Set(this.#state.messages.map(({ id }) => id));
    this.#committed = this.#committed.filter(
      ({ id, seq }) => !known.has(id) && seq > this.#known(),
    );
    const messages =
      this.#committed.length === 0
        ? this.#state.messages
        : [...this.#state.messages, ...this.#committed].sort((a, b) => a.seq - b.seq);
    const state = messages === this.#state.messages ? this.#state : { ...this.#state, messages };
    return { ...this.#rest, state, pending: notYetShown(this.#outbox.pending, messages) };
  }
}

/** The turn that works or waits for a word; else the first in line. */
export function activeTurn(state: ConversationState): Turn | null {
  const open = Object.values(state.turns).filter(({ status }) => !ENDED.has(status));
  const working = open.find(({ status }) => status !== "queued");
  const first = open.sort((a, b) => (a.position ?? 0) - (b.position ?? 0))[0];
  return working ?? first ?? null;
}
