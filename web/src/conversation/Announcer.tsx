import { useEffect, useRef, useState } from "react";
import type { Message } from "../state/types";

/** For screen readers: each answer once, when it is whole. Not its tokens, and not the history. */
export function Announcer({ messages, loaded }: { messages: readonly Message[]; loaded: boolean }) {
  const newest = useRef(-1);
  const [said, setSaid] = useState("");
  const last = messages.at(-1)?.seq ?? 0;
  useEffect(() => {
    if (!loaded) return;
    const before = newest.current;
    newest.current = Math.max(before, last);
    if (before < 0) return;
    const answers = messages.filter(
      ({ seq, role, content }) => seq > before && role === "assistant" && content !== "",
    );
    if (answers.length > 0) {
      setSaid(`Assistant: ${answers.map(({ content }) => content).join("\n")}`);
    }
  }, [messages, last, loaded]);
  return (
    <div className="visually-hidden" aria-live="polite">
      {said}
    </div>
  );
}
