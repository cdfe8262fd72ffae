import { expect, test } from "vitest";
import { hasNews } from "../src/shell/pageTitle";
import type { Conversation } from "../src/state/types";

const row = (message_count: number, running = false) =>
  ({ id: "a", message_count, active_turn: running ? {} : null }) as Conversation;

test("an answer that came while nobody looked is news", () => {
  expect(hasNews([row(2)], new Map([["a", 1]]))).toBe(true);
});

test.each([
  ["nothing more was said", [row(1)], 1],
  ["it is still being answered", [row(2, true)], 1],
  ["a message was withdrawn", [row(1)], 2],
])("no news: %s", (_, rows, before) => {
  expect(hasNews(rows, new Map([["a", before]]))).toBe(false);
});

test("a conversation that was not known before is no news", () => {
  expect(hasNews([row(2)], new Map())).toBe(false);
});
