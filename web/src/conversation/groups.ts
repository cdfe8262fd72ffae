import type { ConversationState, Message, Turn } from "../state/types";

/** A turn with what was said in it. */
export interface Group {
  key: string;
  turn: Turn | null;
  messages: Message[];
  /** `id=decision` of the calls that asked for one. */
  decisions: string;
}

/**
 * Messages stand with their turn: what was said while another answer was being given comes after
 * that answer. Tool messages are not shown by themselves but in the calls they answer.
 */
export function groupsOf({ messages, turns }: ConversationState): Group[] {
  const groups = new Map<string, Group>();
  for (const message of messages) {
    const key = message.turn_id ?? message.id;
    const group = groups.get(key) ?? { key, turn: turns[key] ?? null, messages: [], decisions: "" };
    groups.set(key, group);
    if (message.role !== "tool") group.messages.push(message);
    else if (typeof message.metadata.approval === "string") {
      group.decisions += ` ${message.tool_call_id}=${message.metadata.approval}`;
    }
  }
  return [...groups.values()];
}
