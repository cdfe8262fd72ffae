import { expect, test } from "vitest";
import { hasNews, leave } from "../src/shell/pageTitle";
import type { Conversation } from "../src/state/types";

const row = (
  message_count: number,
  { id = "a", running = false, waits = false, minute = 0 } = {},
) =>
  ({
    id,
    message_count,
    active_turn: waits ? { status: "awaiting_approval" } : running ? { status: "running" } : null,
    updated_at: `2026-11-25T12:0${minute}:00Z`,
  }) as Conversation;

test("an answer that came while nobody looked is news", () => {
  expect(hasNews([row(2)], leave([row(1)]))).toBe(true);
});

test("a call that waits for a word is news", () => {
  expect(hasNews([row(2, { waits: true })], leave([row(1)]))).toBe(true);
});

test.each([
  ["nothing more was said", [row(1)], 1],
  ["it is still being answered", [row(2, { running: true })], 1],
  ["a message was withdrawn", [row(1)], 2],
])("no news: %s", (_, rows, before) => {
  expect(hasNews(rows, leave([row(before)]))).toBe(false);
});

test("a conversation that began while nobody looked is news once it is answered", () => {
  const left = leave([row(1)]);
  const begun = { id: "b", minute: 1 };
  expect(hasNews([row(1, { ...begun, running: true }), row(1)], left)).toBe(false);
  expect(hasNews([row(2, begun), row(1)], left)).toBe(true);
  expect(hasNews([row(2, begun)], leave([]))).toBe(true);
});

test("an old conversation that moved up from the next page is no news", () => {
  expect(
    hasNews([row(1, { minute: 1 }), row(8, { id: "b" })], leave([row(1, { minute: 1 })])),
  ).toBe(false);
});
