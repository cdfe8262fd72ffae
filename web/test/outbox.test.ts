import "./browser";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NetworkError, ProblemError } from "../src/api";
import { keepFor } from "../src/keep";
import {
  conversationsWithPending,
  type Kept,
  keptFor,
  newKey,
  notYetShown,
  Outbox,
} from "../src/state/outbox";
import type { Message, Pending } from "../src/state/types";

const NONE = new Set<string>();

function problem(status: number, retryAfter: number | null = null): ProblemError {
  const said = { type: "about:blank", title: "No", status, detail: "No.", code: "no" };
  return new ProblemError(said, retryAfter);
}

function message(seq: number, content: string, role: Message["role"] = "user"): Message {
  return {
    id: `message-${seq}`,
    conversation_id: "c",
    turn_id: "t",
    seq,
    role,
    content,
    status: "completed",
    tool_calls: null,
    tool_call_id: null,
    metadata: {},
    created_at: "2026-03-02T09:30:00Z",
  };
}

/** A server that answers as it is told to, and remembers what it was asked. */
function makeServer() {
  const asked: Pending[] = [];
  const answers: (Message | Error)[] = [];
  const post = async (pending: Pending): Promise<Message> => {
    asked.push(pending);
    await Promise.resolve();
    const answer = answers.shift() ?? message(asked.length, pending.content);
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { asked, answers, post };
}

function memory(): Kept {
  let held: readonly Pending[] = [];
  return {
    read: () => held,
    write: (pending) => {
      held = pending;
    },
  };
}

beforeEach(() => {
  vi.useFakeTimers();
  keepFor("alice");
});
afterEach(() => {
  vi.useRealTimers();
  localStorage.clear();
});

describe("an outbox", () => {
  it("sends one after the other, as they were said", async () => {
    const { asked, answers, post } = makeServer();
    const outbox = new Outbox(memory(), post, () => {});
    answers.push(new NetworkError(), message(1, "a"));
    outbox.add("a", "enqueue", 0);
    outbox.add("b", "steer", 0);
    await vi.runAllTimersAsync();
    expect(asked.map(({ content }) => content)).toEqual(["a", "a", "b"]);
    expect(outbox.pending).toEqual([]);
  });

  it.each([new NetworkError(), problem(500), problem(503, 1), problem(429, 1)])(
    "tries again under the same key after $message",
    async (error) => {
      const { asked, answers, post } = makeServer();
      const outbox = new Outbox(memory(), post, () => {});
      answers.push(error, error, error);
      outbox.add("a", "enqueue", 0);
      await vi.runAllTimersAsync();
      expect(asked.length).toBe(4);
      expect(new Set(asked.map(({ key }) => key)).size).toBe(1);
      expect(outbox.pending).toEqual([]);
    },
  );

  it("waits as long as it was asked to", async () => {
    const { asked, answers, post } = makeServer();
    const outbox = new Outbox(memory(), post, () => {});
    answers.push(problem(429, 20));
    outbox.add("a", "enqueue", 0);
    await vi.advanceTimersByTimeAsync(19_000);
    expect(asked.length).toBe(1);
    await vi.advanceTimersByTimeAsync(1500);
    expect(asked.length).toBe(2);
  });

  it("marks what was refused, goes on with the next, and sends it again under a new key", async () => {
    const { asked, answers, post } = makeServer();
    const outbox = new Outbox(memory(), post, () => {});
    answers.push(problem(409));
    outbox.add("a", "reject", 4);
    outbox.add("b", "enqueue", 4);
    await vi.runAllTimersAsync();
    expect(outbox.pending).toMatchObject([{ content: "a", status: "failed", after: 4 }]);
    expect(outbox.pending[0]?.problem?.status).toBe(409);
    const [first] = asked;
    outbox.resend(first?.key ?? "", 9);
    expect(outbox.pending[0]).toMatchObject({ status: "sending", problem: null, after: 9 });
    await vi.runAllTimersAsync();
    expect(asked[2]?.content).toBe("a");
    expect(asked[2]?.key).not.toBe(first?.key);
    expect(outbox.pending).toEqual([]);
  });

  it("keeps what it has while nobody is signed in, under the same key", async () => {
    const { asked, answers, post } = makeServer();
    const outbox = new Outbox(memory(), post, () => {});
    answers.push(problem(401));
    outbox.add("a", "enqueue", 0);
    await vi.runAllTimersAsync();
    expect(outbox.pending).toMatchObject([{ status: "sending" }]);
    await outbox.send();
    expect(asked.map(({ key }) => key)).toEqual([asked[0]?.key, asked[0]?.key]);
    expect(outbox.pending).toEqual([]);
  });

  it("goes on when somebody signs in while the refusal is still on its way", async () => {
    const { asked, answers, post } = makeServer();
    const outbox = new Outbox(memory(), post, () => {});
    answers.push(problem(401));
    outbox.add("a", "enqueue", 0);
    await outbox.send();
    await vi.runAllTimersAsync();
    expect(asked).toHaveLength(2);
    expect(outbox.pending).toEqual([]);
  });

  it("discards", async () => {
    const { answers, post } = makeServer();
    const kept = memory();
    const outbox = new Outbox(kept, post, () => {});
    answers.push(problem(422));
    outbox.add("a", "enqueue", 0);
    await vi.runAllTimersAsync();
    outbox.discard(outbox.pending[0]?.key ?? "");
    expect(outbox.pending).toEqual([]);
    expect(kept.read()).toEqual([]);
  });

  it("sends and writes nothing more once the person has left", async () => {
    const { asked, answers, post } = makeServer();
    const kept = memory();
    const outbox = new Outbox(kept, post, () => {});
    answers.push(new NetworkError());
    outbox.add("a", "enqueue", 0);
    await vi.advanceTimersByTimeAsync(1);
    outbox.stop();
    kept.write([]);
    await vi.runAllTimersAsync();
    expect(asked.length).toBe(1);
    expect(kept.read()).toEqual([]);
  });
});

describe("after a reload", () => {
  it("it goes on, under the same key", async () => {
    const silent = makeServer();
    const lost = new Outbox(
      keptFor("c"),
      () => new Promise(() => {}),
      () => {},
    );
    lost.add("a", "enqueue", 0);
    expect(conversationsWithPending()).toEqual(["c"]);
    const outbox = new Outbox(keptFor("c"), silent.post, () => {});
    expect(outbox.pending).toEqual(lost.pending);
    await outbox.send();
    expect(silent.asked[0]?.key).toBe(lost.pending[0]?.key);
    expect(conversationsWithPending()).toEqual([]);
  });

  it("what is older than the server's memory of keys is not sent unasked", async () => {
    const lost = new Outbox(
      keptFor("c"),
      () => new Promise(() => {}),
      () => {},
    );
    lost.add("a", "enqueue", 0);
    vi.setSystemTime(Date.now() + 24 * 3600 * 1000);
    const { asked, post } = makeServer();
    const outbox = new Outbox(keptFor("c"), post, () => {});
    await outbox.send();
    expect(asked).toEqual([]);
    expect(outbox.pending).toMatchObject([{ status: "failed", problem: null }]);
    const { key } = outbox.pending[0] as Pending;
    outbox.resend(key, 0);
    await vi.runAllTimersAsync();
    // Nobody refused it, so it may be the same request still.
    expect(asked.map((one) => one.key)).toEqual([key]);
  });

  it("another tab's messages stay, and so do other conversations'", async () => {
    const here = new Outbox(
      keptFor("c"),
      () => new Promise(() => {}),
      () => {},
    );
    const there = new Outbox(
      keptFor("c"),
      () => new Promise(() => {}),
      () => {},
    );
    const elsewhere = new Outbox(
      keptFor("d"),
      () => new Promise(() => {}),
      () => {},
    );
    here.add("a", "enqueue", 0);
    there.add("b", "enqueue", 0);
    elsewhere.add("c", "enqueue", 0);
    there.discard(there.pending[0]?.key ?? "");
    expect(
      keptFor("c")
        .read()
        .map(({ content }) => content),
    ).toEqual(["a"]);
    expect(conversationsWithPending().sort()).toEqual(["c", "d"]);
  });

  it("what one person said is not another's", () => {
    const lost = new Outbox(
      keptFor("c"),
      () => new Promise(() => {}),
      () => {},
    );
    lost.add("a", "enqueue", 0);
    keepFor("bob");
    expect(keptFor("c").read()).toEqual([]);
  });

  it("a browser that keeps nothing is no reason not to send", async () => {
    const full = vi.spyOn(localStorage, "setItem").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    const { asked, post } = makeServer();
    const outbox = new Outbox(keptFor("c"), post, () => {});
    outbox.add("a", "enqueue", 0);
    await vi.runAllTimersAsync();
    expect(asked.length).toBe(1);
    expect(outbox.pending).toEqual([]);
    full.mockRestore();
  });
});

describe("what is shown of it", () => {
  const pending = (content: string, more: Partial<Pending> = {}): Pending => ({
    key: newKey(),
    content,
    onBusy: "enqueue",
    status: "sending",
    after: 10,
    at: Date.now(),
    problem: null,
    ...more,
  });

  it("not what an event has told of", () => {
    const one = pending("hello");
    expect(notYetShown([one], [message(11, "hello")], NONE)).toEqual([]);
    expect(notYetShown([one], [message(9, "hello")], NONE)).toEqual([one]);
    expect(notYetShown([one], [message(11, "hello", "assistant")], NONE)).toEqual([one]);
  });

  it("two of the same words are two", () => {
    const two = [pending("ok"), pending("ok")];
    expect(notYetShown(two, [message(11, "ok")], NONE)).toEqual([two[1]]);
    expect(notYetShown(two, [message(11, "ok"), message(12, "ok")], NONE)).toEqual([]);
  });

  it("one that was answered is not taken for the next of the same words", () => {
    const next = pending("ok");
    expect(notYetShown([next], [message(11, "ok")], new Set(["message-11"]))).toEqual([next]);
  });

  it("what failed stays", () => {
    const one = pending("hello", { status: "failed" });
    expect(notYetShown([one], [message(11, "hello")], NONE)).toEqual([one]);
  });
});
