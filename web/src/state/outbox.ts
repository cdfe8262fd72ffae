/**
 * Messages on their way. Each keeps its Idempotency-Key until the server has answered it, so it may
 * be sent as often as it takes; kept in the browser, so that a reload loses none.
 */
import { isPassing, ProblemError } from "../api";
import type { Message, OnBusy, Pending, Problem } from "./types";

const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 5000;

export interface Kept {
  read(): readonly Pending[];
  write(pending: readonly Pending[]): void;
}

export type Post = (pending: Pending) => Promise<Message>;

export class Outbox {
  #pending: readonly Pending[];
  readonly #kept: Kept;
  readonly #post: Post;
  readonly #changed: (committed: Message | null) => void;
  #sending = false;
  #wake: (() => void) | null = null;

  constructor(kept: Kept, post: Post, changed: (committed: Message | null) => void) {
    this.#kept = kept;
    this.#post = post;
    this.#changed = changed;
    this.#pending = kept.read();
  }

  get pending(): readonly Pending[] {
    return this.#pending;
  }

  /** `after`: the last change that is known now. */
  add(content: string, onBusy: OnBusy, after: number): void {
    const key = newKey();
    const one: Pending = { key, content, onBusy, after, status: "sending", problem: null };
    this.#set([...this.#pending, one]);
    void this.send();
  }

  /** What was refused is another request now; of what only got lost the key must stay. */
  resend(key: string): void {
    this.#set(
      this.#pending.map((one) =>
        one.key === key
          ? { ...one, key: one.problem === null ? key : newKey(), status: "sending", problem: null }
          : one,
      ),
    );
    void this.send();
  }

  discard(key: string): void {
    this.#set(this.#pending.filter((one) => one.key !== key));
  }

  /** One after the other, as they were said. */
  async send(): Promise<void> {
    this.#wake?.();
    if (this.#sending) return;
    this.#sending = true;
    let failures = 0;
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      try {
        const committed = await this.#post(next);
        failures = 0;
        this.#drop(next.key, committed);
      } catch (error) {
        // Nobody is signed in: it stays, and goes out with the next session.
        if (problemOf(error)?.status === 401) break;
        if (!isPassing(error)) this.#fail(next.key, problemOf(error));
        else await this.#pause(failures++, error);
      }
    }
    this.#sending = false;
  }

  #next(): Pending | undefined {
    return this.#pending.find((one) => one.status === "sending");
  }

  #drop(key: string, committed: Message): void {
    this.#pending = this.#pending.filter((one) => one.key !== key);
    this.#kept.write(this.#pending);
    this.#changed(committed);
  }

  #fail(key: string, problem: Problem | null): void {
    this.#set(
      this.#pending.map((one) => (one.key === key ? { ...one, status: "failed", problem } : one)),
    );
  }

  #set(pending: readonly Pending[]): void {
    this.#pending = pending;
    this.#kept.write(pending);
    this.#changed(null);
  }

  async #pause(failures: number, error: unknown): Promise<void> {
    const asked = error instanceof ProblemError ? (error.retryAfter ?? 0) * 1000 : 0;
    const pause = Math.max(asked, Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures));
    await new Promise<void>((done) => {
      this.#wake = done;
      setTimeout(done, pause);
    });
    this.#wake = null;
  }
}

function problemOf(error: unknown): Problem | null {
  return error instanceof ProblemError ? error.problem : null;
}

/** The browser's own maker of UUIDs is there over TLS only. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Those not shown already: an event may tell of a message before its own POST is answered. */
export function notYetShown(
  pending: readonly Pending[],
  messages: readonly Message[],
): readonly Pending[] {
  if (pending.length === 0) return pending;
  const taken = new Set<string>();
  return pending.filter((one) => {
    if (one.status !== "sending") return true;
    const shown = messages.find(
      ({ id, role, seq, content }) =>
        role === "user" && seq > one.after && content === one.content && !taken.has(id),
    );
    if (shown !== undefined) taken.add(shown.id);
    return shown === undefined;
  });
}
