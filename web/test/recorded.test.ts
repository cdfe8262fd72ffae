import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { applyEvent } from "../src/state/conversation";
import type { ConversationState, Message, Turn } from "../src/state/types";
import { begun, cutDeltas, Follower, isDelta, LOGS, shownBy } from "./recorded";

const byId = <T extends { id: string }>(items: T[]): T[] =>
  [...items].sort((a, b) => a.id.localeCompare(b.id));

function expectEnd(state: ConversationState, after: { messages: Message[]; turns: Turn[] }): void {
  const { messages, turns } = shownBy(state);
  expect(messages).toEqual(after.messages);
  expect(byId(turns)).toEqual(byId(after.turns));
  expect(state.live).toBeNull();
  expect(state.gap).toBe(false);
}

describe("recorded logs", () => {
  it("are there", () => expect(LOGS.length).toBeGreaterThan(10));

  it.each(LOGS)("$name leads to what GET shows", (log) => {
    const state = log.told.reduce((at, { id, event }) => applyEvent(at, id, event), begun(log));
    expectEnd(state, log.after);
  });

  it.each(LOGS)("$name: the cursor is the id of the last event", (log) => {
    let state = begun(log);
    for (const { id, event } of log.told) {
      state = applyEvent(state, id, event);
      if (id !== "") expect(state.cursor).toBe(id);
    }
  });

  const steps = fc.array(
    fc.oneof(
      fc.record({ what: fc.constant("advance" as const), count: fc.integer({ min: 1, max: 9 }) }),
      fc.record({ what: fc.constant("double" as const), count: fc.integer({ min: 1, max: 30 }) }),
      fc.record({ what: fc.constant("lose" as const), count: fc.integer({ min: 1, max: 3 }) }),
      fc.record({ what: fc.constant("comeAgain" as const), count: fc.constant(1) }),
    ),
    { maxLength: 40 },
  );
  const sizes = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 8 });

  it.each(LOGS)("$name: however it is cut, doubled and lost, the end is the same", (log) => {
    fc.assert(
      fc.property(steps, sizes, (taken, cuts) => {
        const follower = new Follower(log, cutDeltas(log.told, cuts));
        for (const { what, count } of taken) follower[what](count);
        follower.advance(Number.POSITIVE_INFINITY);
        expectEnd(follower.state, log.after);
      }),
      { numRuns: 60 },
    );
  });

  it.each(LOGS)("$name: text in flight is never other than what was streamed", (log) => {
    fc.assert(
      fc.property(steps, sizes, (taken, cuts) => {
        const told = cutDeltas(log.told, cuts);
        const streamed = new Map<string, string>();
        for (const { event } of told) {
          if (!isDelta(event)) continue;
          const known = streamed.get(event.message_id) ?? "";
          streamed.set(event.message_id, known + event.text);
        }
        const follower = new Follower(log, told);
        for (const { what, count } of taken) {
          follower[what](count);
          const { live } = follower.state;
          if (live === null) continue;
          expect(streamed.get(live.messageId)?.startsWith(live.text)).toBe(true);
          expect(Array.from(live.text).length).toBe(live.length);
        }
      }),
      { numRuns: 30 },
    );
  });
});
