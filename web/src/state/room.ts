/** One conversation, open: its state, its stream and its outbox, outside of any view. */
import { call, client, isPassing, isUnauthorized, ProblemError } from "../api";
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
import { conversationsChanged, heardInList, listed, tasksChanged } from "./lists";
import { keptFor, notYetShown, Outbox } from "./outbox";
import { meet, watch } from "./seen";
import { Stream } from "./stream";
import type { ConversationState, Event, OnBusy, Pending, Shown, Turn } from "./types";

const PAGE = 50;
const UNSEEN_MS = 100;
const RETRY_MS = 1000;
const ENDED = new Set(["completed", "failed", "cancelled"]);

export class Room {
  readonly id: string;
  readonly shown: Store<Shown>;
  #state = empty();
  #rest: Omit<Shown, "state" | "pending">;
  readonly #outbox: Outbox;
  readonly #stream: Stream;
  #open = 0;
  #due = false;
  #closed = false;
  #forget: (() => void) | null = null;

  constructor(id: string, isNew = false) {
    this.id = id;
    const connection = "connecting";
    this.#rest = { connection, loaded: false, isNew, problem: null, loadingOlder: false };
    this.#outbox = new Outbox(
      keptFor(id),
      (pending) => this.#post(pending),
      () => this.#show(),
    );
    this.#stream = new Stream(id, {
      cursor: () => this.#state.cursor,
      event: (cursor, event) => this.#hear(cursor, event),
      connection: (connection) => this.#know({ connection }),
      gone: () => this.#gone(),
      lost: () => this.#load(),
      unauthorized: renew,
      busy: () => activeTurn(this.#state) !== null,
    });
    this.shown = new Store(this.#snapshot());
  }

  /** It may be forgotten: nobody looks at it, and nothing is on its way. */
  get isIdle(): boolean {
    return this.#open === 0 && this.#outbox.pending.length === 0;
  }

  /** Also of a conversation that nobody looks at. */
  sendPending(): void {
    void this.#outbox.send();
  }

  /** For good: the person has left. */
  close(): void {
    this.#closed = true;
    this.#outbox.stop();
    this.#stream.stop();
  }

  /** Somebody looks at it, as long as they don't call what is returned. */
  open(): () => void {
    this.#open += 1;
    if (this.#open === 1) this.#begin();
    return () => {
      this.#open -= 1;
      if (this.#open > 0) return;
      watch(null);
      this.#forget?.();
      this.#stream.stop();
    };
  }

  #begin(): void {
    watch(this.id);
    const row = listed(this.id);
    if (row !== undefined) meet([row]);
    this.#forget = onRenewal(() => {
      if (this.#rest.loaded) this.#stream.again();
      else void this.#load();
    });
    void this.#outbox.send();
    if (this.#rest.loaded) this.#stream.start();
    else void this.#load();
  }

  #loading: Promise<void> | null = null;

  /** The first page, once however often it is asked for: two would overtake the stream. */
  #load(): Promise<void> {
    this.#loading ??= this.#readFirst().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async #readFirst(): Promise<void> {
    try {
      const path = { conversation_id: this.id };
      const [conversation, page] = await Promise.all([
        call(() => client.GET("/api/chat/conversations/{conversation_id}", { params: { path } })),
        this.#page({ limit: PAGE }),
      ]);
      if (this.#closed) return;
      // A turn that an answer told of before anything else did stays.
      const { turns } = this.#rest.loaded ? empty() : this.#state;
      this.#state = applyPage({ ...empty(), conversation, turns }, page);
      // What a tool did meanwhile stands in the page: no event tells of it.
      tasksChanged();
      this.#know({ loaded: true, problem: null });
      if (this.#open > 0) this.#stream.start();
    } catch (error) {
      await this.#refused(error);
    }
  }

  async #refused(error: unknown): Promise<void> {
    // Without a session it waits for one.
    if (isUnauthorized(error)) return;
    if (!isPassing(error)) {
      if (error instanceof ProblemError) this.#know({ problem: error.problem });
      return;
    }
    this.#know({ connection: navigator.onLine ? "reconnecting" : "offline" });
    const asked = error instanceof ProblemError ? (error.retryAfter ?? 0) * 1000 : 0;
    await new Promise((done) => setTimeout(done, Math.max(asked, RETRY_MS)));
    if (this.#open > 0) await this.#readFirst();
  }

  #page(query: { limit: number; before?: string }): Promise<HistoryPage> {
    const params = { path: { conversation_id: this.id }, query };
    return call(() => client.GET("/api/chat/conversations/{conversation_id}/messages", { params }));
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
      this.#stream.later();
    }
    heardInList(this.id, event, activeTurn(this.#state));
    if (isToolDone(event)) tasksChanged();
    if (this.#state.deleted) conversationsChanged();
    this.#show();
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
    this.#answered.add(message.id);
    this.#state = withTurn(this.#state, turn);
    return message;
  }

  /** Answered, and not told by the stream yet. */
  #committed: ConversationState["messages"] = [];
  /** The messages that were ours, so that no other of the same words is taken for them. */
  readonly #answered = new Set<string>();

  send(content: string, onBusy: OnBusy = "enqueue"): void {
    this.#outbox.add(content, onBusy, this.#known());
  }

  #known(): number {
    return this.#state.cursor === "" ? 0 : seqOf(this.#state.cursor);
  }

  readonly resend = (key: string): void => this.#outbox.resend(key, this.#known());
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
      const page = await this.#page({ limit: PAGE, before: String(oldest.seq) });
      // The first page may have been read anew meanwhile: then it is none of its neighbours.
      if (this.#state.messages[0] === oldest) this.#state = applyPage(this.#state, page);
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
    const pending = notYetShown(this.#outbox.pending, messages, this.#answered);
    return { ...this.#rest, state, pending };
  }
}

function isToolDone(event: Event): boolean {
  if (event.event !== "message.updated" && event.event !== "message.created") return false;
  return event.message.role === "tool" && event.message.status === "completed";
}

/** The turn that works or waits for a word; else the first in line. */
export function activeTurn(state: ConversationState): Turn | null {
  const open = Object.values(state.turns).filter(({ status }) => !ENDED.has(status));
  const working = open.find(({ status }) => status !== "queued");
  const first = open.sort((a, b) => (a.position ?? 0) - (b.position ?? 0))[0];
  return working ?? first ?? null;
}
