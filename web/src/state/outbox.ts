/**
 * Messages on their way. Each keeps its Idempotency-Key until the server has answered it, so it may
 * be sent as often as it takes; kept in the browser, so that a reload loses none.
 */
import { isPassing, isUnauthorized, ProblemError } from "../api";
import { ofPerson, read, write } from "../keep";
import type { Message, OnBusy, Pending, Problem } from "./types";

const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 5000;
/** The server knows a key for a day. After that it can't tell a second time from the first. */
const KEY_MS = 23 * 3600 * 1000;

type Edit = (pending: readonly Pending[]) => readonly Pending[];

/** Another tab may write there too: it is read anew for each change. */
export interface Kept {
  read(): readonly Pending[];
  write(pending: readonly Pending[]): void;
}

type ByConversation = Readonly<Record<string, readonly Pending[]>>;

/** All in one place, so that after a reload what lies in any conversation is found. */
export function keptFor(conversationId: string): Kept {
  const name = ofPerson("outbox");
  return {
    read: () => read<ByConversation>(name, {})[conversationId] ?? [],
    write: (pending) => {
      const { [conversationId]: _, ...others } = read<ByConversation>(name, {});
      const all = pending.length === 0 ? others : { ...others, [conversationId]: pending };
      write(name, Object.keys(all).length === 0 ? null : all);
    },
  };
}

export function conversationsWithPending(): string[] {
  return Object.keys(read<ByConversation>(ofPerson("outbox"), {}));
}

export type Post = (pending: Pending) => Promise<Message>;

export class Outbox {
  #pending: readonly Pending[];
  readonly #kept: Kept;
  readonly #post: Post;
  readonly #changed: () => void;
  #sending = false;
  /** Asked to send since the request that is on its way began: somebody may have signed in. */
  #asked = false;
  #stopped = false;
  #wake: (() => void) | null = null;

  constructor(kept: Kept, post: Post, changed: () => void) {
    this.#kept = kept;
    this.#post = post;
    this.#changed = changed;
    this.#pending = kept.read().map(notTooOld);
  }

  get pending(): readonly Pending[] {
    return this.#pending;
  }

  /** `after`: the last change that is known now. */
  add(content: string, onBusy: OnBusy, after: number): void {
    const at = Date.now();
    const key = newKey();
    const one: Pending = { key, content, onBusy, after, at, status: "sending", problem: null };
    this.#edit((pending) => [...pending, one]);
    void this.send();
  }

  /** What was refused is another request now; of what only got lost the key must stay. */
  resend(key: string, after: number): void {
    const one = this.#pending.find((each) => each.key === key);
    if (one === undefined) return;
    const said = one.problem === null ? {} : { key: newKey(), after };
    const again: Pending = { ...one, ...said, at: Date.now(), status: "sending", problem: null };
    this.#edit((pending) => pending.map((each) => (each.key === key ? again : each)));
    void this.send();
  }

  discard(key: string): void {
    this.#edit((pending) => pending.filter((one) => one.key !== key));
  }

  /** For good: the person has left, and what is on its way is no longer ours to send. */
  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  /** One after the other, as they were said; until all are through, or somebody must sign in. */
  async send(): Promise<void> {
    this.#wake?.();
    this.#asked = true;
    if (this.#sending) return;
    this.#sending = true;
    let failures = 0;
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const { key } = next;
      this.#asked = false;
      try {
        await this.#post(next);
        failures = 0;
        this.discard(key);
      } catch (error) {
        if (isUnauthorized(error)) {
          if (!this.#asked) break;
        } else if (isPassing(error)) await this.#pause(failures++, error);
        else this.#fail(key, problemOf(error));
      }
    }
    this.#sending = false;
  }

  #next(): Pending | undefined {
    if (this.#stopped) return undefined;
    return this.#pending.find((one) => one.status === "sending");
  }

  #fail(key: string, problem: Problem | null): void {
    this.#edit((pending) =>
      pending.map((one) => (one.key === key ? { ...one, status: "failed", problem } : one)),
    );
  }

  #edit(edit: Edit): void {
    if (this.#stopped) return;
    this.#kept.write(edit(this.#kept.read()));
    this.#pending = edit(this.#pending);
    this.#changed();
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

/** It may have arrived all the same, so nobody but its author can say whether to send it again. */
function notTooOld(one: Pending): Pending {
  return Date.now() - one.at < KEY_MS ? one : { ...one, status: "failed" };
}

/** `crypto.randomUUID` is there over TLS only. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Those not shown already: an event may tell of a message before its own POST is answered. The
 * messages in `answered` are known to be others'.
 */
export function notYetShown(
  pending: readonly Pending[],
  messages: readonly Message[],
  answered: ReadonlySet<string>,
): readonly Pending[] {
  if (pending.length === 0) return pending;
  const taken = new Set(answered);
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
