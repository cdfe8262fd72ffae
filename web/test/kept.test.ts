/** What is kept on the device: drafts, and what was seen. And what a list knows of an event. */

import "./browser";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { keepFor, ofPerson, read } from "../src/keep";
import { session } from "../src/session";
import { flushDrafts, readDraft, writeDraft } from "../src/state/drafts";
import { rowAfter } from "../src/state/lists";
import { isUnread, markSeen, meet, watch } from "../src/state/seen";
import type { Conversation, Event, Message } from "../src/state/types";
import { setHidden } from "./browser";

const nobody = { status: "signed-out" as const, user: null, expiresAt: null, launcher: false };

function signedIn(user: string): void {
  keepFor(user);
  session.set({ status: "signed-in", user, expiresAt: null, launcher: false });
}

function row(message_count: number, more: Partial<Conversation> = {}): Conversation {
  return {
    id: "c",
    title: "Garden",
    created_at: "2026-03-02T09:30:00Z",
    updated_at: "2026-03-02T09:30:00Z",
    message_count,
    last_message_preview: "hello",
    seq: 10,
    active_turn: null,
    ...more,
  };
}

beforeEach(() => {
  vi.useFakeTimers();
  signedIn("alice");
});
afterEach(() => {
  session.set({ ...nobody });
  localStorage.clear();
  watch(null);
  setHidden(false);
  vi.useRealTimers();
});

describe("drafts", () => {
  const stored = (id: string) => read<string | null>(ofPerson(`draft:${id}`), null);

  it("are written once the keys rest", async () => {
    writeDraft("c", "hel");
    writeDraft("c", "hello");
    expect(readDraft("c")).toBe("hello");
    expect(stored("c")).toBeNull();
    await vi.advanceTimersByTimeAsync(300);
    expect(stored("c")).toBe("hello");
  });

  it("are each conversation's own, and the new one has one too", () => {
    writeDraft("c", "one");
    writeDraft("d", "two");
    writeDraft(null, "three");
    flushDrafts();
    expect([stored("c"), stored("d"), stored("new")]).toEqual(["one", "two", "three"]);
  });

  it("that were sent are gone at once", () => {
    writeDraft("c", "hello");
    flushDrafts();
    writeDraft("c", "");
    expect(stored("c")).toBeNull();
  });

  it("go with the person, also what was not written yet", async () => {
    writeDraft("c", "secret");
    session.set({ ...nobody });
    await vi.advanceTimersByTimeAsync(1000);
    expect(Object.keys(localStorage)).toEqual([]);
    signedIn("bob");
    expect(readDraft("c")).toBe("");
    signedIn("alice");
    expect(readDraft("c")).toBe("");
  });

  it("that can't be kept are still there", () => {
    const full = vi.spyOn(localStorage, "setItem").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    writeDraft("c", "hello");
    flushDrafts();
    expect(readDraft("c")).toBe("hello");
    full.mockRestore();
  });
});

describe("what was seen", () => {
  const seen = () => read<Record<string, number>>(ofPerson("seen"), {});

  it("counts a conversation that is new to the device as read", () => {
    expect(isUnread(seen(), row(4))).toBe(false);
    meet([row(4)]);
    expect(seen()).toEqual({ c: 4 });
    expect(isUnread(seen(), row(6))).toBe(true);
  });

  it("is not changed by a list, unless somebody looks at the conversation", () => {
    markSeen("c", 4);
    meet([row(6)]);
    expect(isUnread(seen(), row(6))).toBe(true);
    watch("c");
    setHidden(true);
    meet([row(6)]);
    expect(isUnread(seen(), row(6))).toBe(true);
    setHidden(false);
    meet([row(6)]);
    expect(isUnread(seen(), row(6))).toBe(false);
  });

  it("is each person's own", () => {
    markSeen("c", 4);
    signedIn("bob");
    meet([row(9)]);
    expect(seen()).toEqual({ c: 9 });
    signedIn("alice");
    expect(seen()).toEqual({ c: 4 });
  });

  it("forgets the oldest of very many", () => {
    for (let n = 0; n < 600; n++) markSeen(`c${n}`, 1);
    expect(Object.keys(seen()).length).toBe(500);
    expect(seen().c599).toBe(1);
  });
});

describe("a row of the list", () => {
  const said = (seq: number, more: Partial<Message> = {}): Event => ({
    event: "message.created",
    seq,
    message: {
      id: "m",
      conversation_id: "c",
      turn_id: "t",
      seq,
      role: "assistant",
      content: ` Hello\n\n${"x".repeat(200)}`,
      status: "completed",
      tool_calls: null,
      tool_call_id: null,
      metadata: {},
      created_at: "2026-03-02T09:31:00Z",
      ...more,
    },
  });

  it("counts, tells and dates what was said", () => {
    const after = rowAfter(row(2), said(11));
    expect(after).toMatchObject({ message_count: 3, updated_at: "2026-03-02T09:31:00Z" });
    expect(after.last_message_preview).toBe(`Hello ${"x".repeat(94)}`);
  });

  it("has counted what it is newer than", () => {
    expect(rowAfter(row(2), said(9))).toMatchObject({ message_count: 2 });
  });

  it("counts tools without telling what they said", () => {
    const after = rowAfter(row(2), said(11, { role: "tool" }));
    expect(after).toMatchObject({ message_count: 3, last_message_preview: "hello" });
  });
});
