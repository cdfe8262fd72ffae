import { describe, expect, it } from "vitest";
import { newestSeq, newsSince } from "../src/conversation/news";
import { empty } from "../src/state/conversation";
import type { ConversationState, Message, ToolCall, Turn } from "../src/state/types";
import { message, turn } from "./service";

const CALL = { id: "call-1", tool_name: "delete", status: "awaiting_approval" } as ToolCall;

function answer(seq: number, content: string, calls: ToolCall[] | null = null): Message {
  return message(seq, content, { role: "assistant", tool_calls: calls });
}

function state(messages: Message[], one: Turn): ConversationState {
  return { ...empty(), messages, turns: { [one.id]: one } };
}

describe("what is told to those who don't see the page", () => {
  it("is each answer, and not the history", () => {
    const now = state([answer(2, "before"), answer(4, "now")], turn(5, { status: "completed" }));
    expect(newsSince(now, 3)).toEqual(["Assistant: now"]);
    expect(newsSince(now, newestSeq(now))).toEqual([]);
    expect(newestSeq(now)).toBe(5);
  });

  it("is a failure, after the text there was", () => {
    const error = { code: "model_error", message: "The model failed.", retryable: true };
    const now = state([answer(4, "half")], turn(5, { status: "failed", error }));
    expect(newsSince(now, 3)).toEqual(["Assistant: half", "The model failed."]);
  });

  it("is a call that waits for a word, by its tool's name", () => {
    const done = { ...CALL, id: "call-2", tool_name: "list", status: "completed" } as ToolCall;
    const now = state([answer(4, "", [done, CALL])], turn(6, { status: "awaiting_approval" }));
    expect(newsSince(now, 4)).toEqual(["The AI wants to use delete. Approve or deny it."]);
  });
});
