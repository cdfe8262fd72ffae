/** What was typed and not sent, of each conversation and of the one that doesn't exist yet. */
import { useCallback } from "react";
import { ofPerson, read, write } from "../keep";
import { session } from "../session";
import { Store, useStore } from "../store";

const QUIET_MS = 250;

/** One for each name, so that whoever shows the same draft shows the same. */
const drafts = new Map<string, Store<string>>();
const unwritten = new Set<string>();
let timer: ReturnType<typeof setTimeout> | undefined;

function draftOf(conversationId: string | null): { name: string; draft: Store<string> } {
  const name = ofPerson(`draft:${conversationId ?? "new"}`);
  const draft = drafts.get(name) ?? new Store(read(name, ""));
  drafts.set(name, draft);
  return { name, draft };
}

export function readDraft(conversationId: string | null): string {
  return draftOf(conversationId).draft.get();
}

export function writeDraft(conversationId: string | null, text: string): void {
  const { name, draft } = draftOf(conversationId);
  draft.set(text);
  unwritten.add(name);
  clearTimeout(timer);
  // One that was sent must not come back, whatever happens next.
  if (text === "") flushDrafts();
  else timer = setTimeout(flushDrafts, QUIET_MS);
}

export function flushDrafts(): void {
  for (const name of unwritten) write(name, drafts.get(name)?.get() || null);
  unwritten.clear();
}

function forgetDrafts(): void {
  drafts.clear();
  unwritten.clear();
}

session.subscribe(() => {
  if (session.get().status === "signed-out") forgetDrafts();
});
globalThis.addEventListener?.("pagehide", flushDrafts);

export function useDraft(conversationId: string | null): [string, (text: string) => void] {
  const text = useStore(draftOf(conversationId).draft);
  const change = useCallback(
    (typed: string) => writeDraft(conversationId, typed),
    [conversationId],
  );
  return [text, change];
}
