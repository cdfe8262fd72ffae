/** What the tab says: the conversation, and a mark for what was answered while nobody looked. */
import { useEffect, useRef, useSyncExternalStore } from "react";
import { rowsOf, useConversations } from "../state/lists";
import type { Conversation } from "../state/types";

type Counts = ReadonlyMap<string, number>;

export function usePageTitle(title: string | null): void {
  const news = useNews();
  useEffect(() => {
    const said = title === null ? "Parley" : `${title} · Parley`;
    document.title = news ? `● ${said}` : said;
  }, [title, news]);
}

function useNews(): boolean {
  const hidden = useHidden();
  const rows = rowsOf(useConversations().data);
  const before = useRef<Counts | null>(null);
  if (!hidden) before.current = null;
  else before.current ??= countsOf(rows);
  return before.current !== null && hasNews(rows, before.current);
}

/** More was said than when the page was left, and nothing is being answered any more. */
export function hasNews(rows: readonly Conversation[], before: Counts): boolean {
  return rows.some(
    ({ id, message_count, active_turn }) =>
      active_turn === null && message_count > (before.get(id) ?? Number.POSITIVE_INFINITY),
  );
}

function countsOf(rows: readonly Conversation[]): Counts {
  return new Map(rows.map(({ id, message_count }) => [id, message_count]));
}

function useHidden(): boolean {
  return useSyncExternalStore(
    (listener) => {
      document.addEventListener("visibilitychange", listener);
      return () => document.removeEventListener("visibilitychange", listener);
    },
    () => document.hidden,
  );
}
