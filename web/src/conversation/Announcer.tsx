import { useEffect, useRef, useState } from "react";
import type { ConversationState } from "../state/types";
import { newestSeq, newsSince } from "./news";

/** For screen readers: what happens, once and whole. Not its tokens, and not the history. */
export function Announcer({ state, loaded }: { state: ConversationState; loaded: boolean }) {
  const newest = useRef(-1);
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (!loaded) return;
    const before = newest.current;
    newest.current = Math.max(before, newestSeq(state));
    if (before < 0) return;
    const news = newsSince(state, before);
    if (news.length > 0) setSaid(news.join("\n"));
  }, [state, loaded]);
  return (
    <div className="visually-hidden" aria-live="polite">
      {said}
    </div>
  );
}
