import { describe, expect, it } from "vitest";
import { applyEvent, applyPage, beginAgain, empty } from "../src/state/conversation";
import type { ConversationState, Event, Message, Turn } from "../src/state/types";

const TURN = "turn-1";

function message(seq: number, more: Partial<Message> = {}): Message {
  return {
    id: `message-${seq}`,
    conversation_id: "conversation",
    turn_id: TURN,
    seq,
    role: "assistant",
    content: `said at ${seq}`,
    status: "completed",
    tool_calls: null,
    tool_call_id: null,
    metadata: {},
    created_at: "2026-03-02T09:30:00Z",
    ...more,
  };
}

function turn(seq: number, more: Partial<Turn> = {}): Turn {
  return {
    id: TURN,
    conversation_id: "conversation",
    user_message_id: "message-1",
    status: "running",
    attempt: 1,
    position: null,
    error: null,
    model: "echo",
    usage: null,
    seq,
    created_at: "2026-03-02T09:30:00Z",
    started_at: null,
    first_token_at: null,
    finished_at: null,
    ...more,
  };
}

function delta(offset: number, text: string, more: object = {}): Event {
  const event = "message.delta" as const;
  return { event, turn_id: TURN, message_id: "live", attempt: 1, offset, text, ...more };
}

const created = (one: Message): Event => ({ event: "message.created", seq: one.seq, message: one });
const updated = (one: Turn): Event => ({ event: "turn.updated", seq: one.seq, turn: one });
const user = message(1, { role: "user" });

function running(): ConversationState {
  const page = { messages: [user], turns: [turn(2)], next_since: 2, has_more: false };
  return applyPage(empty(), page);
}

describe("text in flight", () => {
  it("counts code points", () => {
    const state = applyEvent(running(), "2:3", delta(0, "a😀b"));
    expect(state.live).toMatchObject({ text: "a😀b", length: 3 });
    expect(applyEvent(state, "2:4", delta(3, "c")).live?.text).toBe("a😀bc");
  });

  it("is trimmed where it overlaps", () => {
    const state = applyEvent(running(), "2:3", delta(0, "a😀b"));
    expect(applyEvent(state, "2:5", delta(1, "😀bcd")).live?.text).toBe("a😀bcd");
    expect(applyEvent(state, "2:3", delta(0, "a😀b"))).toBe(state);
  });

  it("that is missing sets gap, and beginning again asks from the last change", () => {
    const state = applyEvent(running(), "2:2", delta(0, "ab"));
    const holed = applyEvent(state, "2:6", delta(4, "ef"));
    expect(holed.gap).toBe(true);
    expect(holed.live?.text).toBe("ab");
    expect(applyEvent(holed, "2:8", delta(6, "gh"))).toBe(holed);
    const again = beginAgain(holed);
    expect(again).toMatchObject({ gap: false, cursor: "2" });
    expect(applyEvent(again, "2:8", delta(0, "abcdefgh")).live?.text).toBe("abcdefgh");
  });

  it("that begins in the middle sets gap", () => {
    expect(applyEvent(running(), "2:9", delta(4, "later")).gap).toBe(true);
  });

  it("of an older attempt is ignored", () => {
    const again = applyEvent(running(), "3", updated(turn(3, { attempt: 2 })));
    expect(applyEvent(again, "3:2", delta(0, "ab"))).toBe(again);
    const state = applyEvent(again, "3:2", delta(0, "cd", { attempt: 2 }));
    expect(applyEvent(state, "3:4", delta(2, "ef"))).toBe(state);
  });

  it("of an older attempt is ignored also where only the text tells of the newer", () => {
    const unknown = applyPage(empty(), { messages: [], turns: [], next_since: 2, has_more: false });
    const state = applyEvent(unknown, "2:2", delta(0, "cd", { attempt: 2 }));
    expect(applyEvent(state, "2:2", delta(0, "ab", { message_id: "older" }))).toBe(state);
  });

  it("from before a change that voided it is ignored", () => {
    const one = message(3, { role: "tool", tool_call_id: "call" });
    const state = applyEvent(running(), "3", created(one));
    expect(applyEvent(state, "2:2", delta(0, "ab"))).toBe(state);
  });

  it("of a newer attempt takes the place of the older, also under the same id", () => {
    const state = applyEvent(running(), "2:2", delta(0, "ab"));
    const next = applyEvent(state, "2:2", delta(0, "cd", { attempt: 2 }));
    expect(next.live).toMatchObject({ text: "cd", attempt: 2 });
  });

  it("of a committed message or an ended turn is ignored", () => {
    const done = applyEvent(running(), "3", created(message(3, { id: "live" })));
    expect(applyEvent(done, "3:2", delta(0, "ab"))).toBe(done);
    const ended = updated(turn(3, { status: "cancelled", finished_at: "2026-03-02T09:31:00Z" }));
    const over = applyEvent(running(), "3", ended);
    expect(applyEvent(over, "3:2", delta(0, "ab"))).toBe(over);
  });

  it("stays when somebody speaks or waits meanwhile, and the cursor keeps its offset", () => {
    let state = applyEvent(running(), "2:2", delta(0, "ab"));
    state = applyEvent(state, "3:2", created(message(3, { role: "user", turn_id: "turn-2" })));
    const waiting = turn(4, { id: "turn-2", status: "queued", attempt: 0, position: 1 });
    state = applyEvent(state, "4:2", updated(waiting));
    expect(state).toMatchObject({ cursor: "4:2", live: { text: "ab" } });
  });

  it("goes with every change that moves the base", () => {
    const state = applyEvent(running(), "2:2", delta(0, "ab"));
    for (const change of [
      updated(turn(3)),
      updated(turn(3, { status: "queued", attempt: 1 })),
      created(message(3)),
      created(message(3, { role: "tool", tool_call_id: "call" })),
    ]) {
      expect(applyEvent(state, "3", change)).toMatchObject({ live: null, cursor: "3" });
    }
  });
});

const CALL = {
  id: "call",
  tool_name: "list_tasks",
  arguments: {},
  status: "running" as const,
  result: null,
  started_at: null,
  duration_ms: null,
};
const tool = (more: Partial<Message> = {}) =>
  message(4, { role: "tool", tool_call_id: "call", content: "", status: "running", ...more });

function callOf(state: ConversationState) {
  return state.messages.find(({ seq }) => seq === 3)?.tool_calls?.[0];
}

describe("tool calls", () => {
  const asked = applyEvent(running(), "3", created(message(3, { tool_calls: [CALL] })));
  const at = applyEvent(asked, "4", created(tool()));

  it("begin with their tool message, and end with it", () => {
    expect(callOf(at)).toMatchObject({ status: "running", started_at: "2026-03-02T09:30:00Z" });
    const done = tool({ status: "completed", content: '{"n":1}', metadata: { duration_ms: 7 } });
    const state = applyEvent(at, "5", { event: "message.updated", seq: 5, message: done });
    expect(callOf(state)).toMatchObject({ status: "completed", result: { n: 1 }, duration_ms: 7 });
  });

  it("have a result that is no JSON as it is", () => {
    const done = tool({ status: "failed", content: "not {json" });
    const state = applyEvent(at, "5", { event: "message.updated", seq: 5, message: done });
    expect(callOf(state)?.result).toBe("not {json");
  });

  it("that need a word have begun when they were approved, in the spelling of GET", () => {
    const started_at = "2026-03-02T09:31:00.81414+00:00";
    const message = tool({ metadata: { approval: "approve", started_at } });
    const state = applyEvent(at, "5", { event: "message.updated", seq: 5, message });
    expect(callOf(state)?.started_at).toBe("2026-03-02T09:31:00.814140Z");
    const waiting = tool({ status: "awaiting_approval", metadata: { approval: "awaited" } });
    const event = { event: "message.created" as const, seq: 4, message: waiting };
    expect(callOf(applyEvent(asked, "4", event))).toMatchObject({
      status: "awaiting_approval",
      started_at: null,
    });
  });

  it("leave all other messages the very objects they were", () => {
    const done = tool({ status: "completed", content: "1" });
    const state = applyEvent(at, "5", { event: "message.updated", seq: 5, message: done });
    expect(state.messages[0]).toBe(at.messages[0]);
    expect(state.messages[1]).not.toBe(at.messages[1]);
    expect(state.turns).toBe(at.turns);
  });
});

describe("pages", () => {
  const page = (messages: Message[], has_more: boolean) => ({
    messages,
    turns: [],
    next_since: 20,
    has_more,
  });

  it("older ones come before, and what is known stays the very object", () => {
    const state = applyPage(empty(), page([message(10), message(11)], true));
    const older = applyPage(state, page([message(8), message(9), message(10)], false));
    expect(older.messages.map(({ seq }) => seq)).toEqual([8, 9, 10, 11]);
    expect(older.messages[2]).toBe(state.messages[0]);
    expect(older).toMatchObject({ hasOlder: false, cursor: "20" });
  });

  it("leave no hole where something older changes meanwhile", () => {
    const state = applyPage(empty(), page([message(10)], true));
    const change = { event: "message.updated" as const, seq: 21, message: message(3) };
    const next = applyEvent(state, "21", change);
    expect(next.messages).toBe(state.messages);
    expect(next.cursor).toBe("21");
  });

  it("never bring back a call's earlier state", () => {
    const done = tool({ status: "completed", content: "1" });
    const state = applyPage(empty(), page([message(3, { tool_calls: [CALL] }), done], false));
    expect(applyPage(state, page([tool()], false)).messages[1]).toBe(state.messages[1]);
  });
});

describe("the rest", () => {
  it("a withdrawn message goes, and may come a second time", () => {
    const withdrawn = { ...user, status: "withdrawn" as const };
    const event = { event: "message.updated" as const, seq: 3, message: withdrawn };
    const state = applyEvent(running(), "3", event);
    expect(state.messages).toEqual([]);
    expect(applyEvent(state, "3", event)).toBe(state);
  });

  it("a deleted conversation says so, and closing for other reasons says nothing", () => {
    const state = running();
    expect(applyEvent(state, "", { event: "stream.closing", reason: "slow" })).toBe(state);
    const gone = applyEvent(state, "", { event: "stream.closing", reason: "deleted" });
    expect(gone.deleted).toBe(true);
    expect(applyEvent(gone, "", { event: "stream.closing", reason: "deleted" })).toBe(gone);
  });

  it("a name that is new is ignored", () => {
    const state = running();
    expect(applyEvent(state, "3", { event: "message.painted" } as never)).toBe(state);
  });
});
