/** What the tab says: the conversation, and a mark for what was answered while nobody looked. */
import { useEffect, useRef, useSyncExternalStore } from "react";
import { isBeingAnswered, rowsOf, useConversations } from "../state/lists";
import type { Conversation } from "../state/types";

/** The list as it was when the page was left. */
export type Left = { counts: ReadonlyMap<string, number>; newest: number };

export function usePageTitle(title: string | null): void {
  const news = useNews();
  useEffect(() => {
    const said = title === null ? "Parley" : `${title} · Parley`;
    document.title = news ? `● ${said}` : said;
  }, [title, news]);
}

function useNews(): boolean {
  const hidden = useHidden();
  const { data } = useConversations();
  const left = useRef<Left | null>(null);
  if (!hidden) left.current = null;
  else if (data !== undefined) left.current ??= leave(rowsOf(data));
  return left.current !== null && hasNews(rowsOf(data), left.current);
}

/** More was said than when the page was left, and nothing is being answered any more. */
export function hasNews(rows: readonly Conversation[], left: Left): boolean {
  return rows.some((row) => {
    const { id, message_count, updated_at } = row;
    const before = left.counts.get(id);
    // A row that was not there is new, or an old one that moved up from the next page.
    const more =
      before === undefined ? Date.parse(updated_at) > left.newest : message_count > before;
    return more && !isBeingAnswered(row);
  });
}

export function leave(rows: readonly Conversation[]): Left {
  return {
    counts: new Map(rows.map(({ id, message_count }) => [id, message_count])),
    newest: Math.max(0, ...rows.map(({ updated_at }) => Date.parse(updated_at))),
  };
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
