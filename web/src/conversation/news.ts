/** What somebody who doesn't see the page has to be told of a conversation. */
import type { ConversationState, Turn } from "../state/types";

export function newestSeq({ messages, turns }: ConversationState): number {
  const said = messages.at(-1)?.seq ?? 0;
  return Object.values(turns).reduce((newest, turn) => Math.max(newest, turn.seq), said);
}

/** In the order they happened: answers, failures, and calls that wait for a word. */
export function newsSince(state: ConversationState, seq: number): string[] {
  const answers = state.messages
    .filter((one) => one.seq > seq && one.role === "assistant" && one.content !== "")
    .map((one) => ({ seq: one.seq, words: `Assistant: ${one.content}` }));
  const standing = Object.values(state.turns)
    .filter((turn) => turn.seq > seq)
    .map((turn) => ({ seq: turn.seq, words: wordsOn(turn, state) }));
  return [...answers, ...standing]
    .filter(({ words }) => words !== "")
    .sort((a, b) => a.seq - b.seq)
    .map(({ words }) => words);
}

function wordsOn(turn: Turn, { messages }: ConversationState): string {
  if (turn.status === "failed") return turn.error?.message ?? "The answer could not be given.";
  if (turn.status !== "awaiting_approval") return "";
  const names = messages
    .filter((one) => one.turn_id === turn.id)
    .flatMap((one) => one.tool_calls ?? [])
    .filter((call) => call.status === "awaiting_approval")
    .map((call) => call.tool_name);
  return `The AI wants to use ${names.join(", ")}. Approve or deny it.`;
}
