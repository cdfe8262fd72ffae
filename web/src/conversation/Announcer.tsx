import { useEffect, useRef, useState } from "react";
import type { ConversationState } from "../state/types";
import { newestSeq, newsSince } from "./news";

type Props = { state: ConversationState; loaded: boolean; isNew: boolean };

/** For screen readers: what happens, once and whole. Not its tokens, and not the history. */
export function Announcer({ state, loaded, isNew }: Props) {
  // What comes with the first page is history, but an answer may be as fast in what begins here.
  const newest = useRef(isNew && !loaded ? 0 : -1);
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
