/** What was typed and not sent, of each conversation and of the one that doesn't exist yet. */
import { useCallback, useEffect, useRef, useState } from "react";
import { ofPerson, read, write } from "../keep";

const QUIET_MS = 250;

function nameOf(conversationId: string | null): string {
  return ofPerson(`draft:${conversationId ?? "new"}`);
}

export function useDraft(conversationId: string | null): [string, (text: string) => void] {
  const name = nameOf(conversationId);
  const [draft, setDraft] = useState(() => ({ name, text: read(name, "") }));
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const waiting = useRef<{ name: string; text: string } | null>(null);

  const flush = useCallback(() => {
    clearTimeout(timer.current);
    if (waiting.current !== null) write(waiting.current.name, waiting.current.text || null);
    waiting.current = null;
  }, []);

  // What was typed for one conversation must not be lost, nor turn up in the next.
  if (draft.name !== name) {
    flush();
    setDraft({ name, text: read(name, "") });
  }
  useEffect(() => {
    addEventListener("pagehide", flush);
    return () => {
      removeEventListener("pagehide", flush);
      flush();
    };
  }, [flush]);

  const change = useCallback(
    (text: string) => {
      setDraft({ name, text });
      waiting.current = { name, text };
      clearTimeout(timer.current);
      timer.current = setTimeout(flush, text === "" ? 0 : QUIET_MS);
    },
    [name, flush],
  );
  return [draft.name === name ? draft.text : read(name, ""), change];
}
