import { useEffect } from "react";
import { useRoute } from "../router";
import { rowsOf, useConversations } from "../state/lists";
import { isUnread, markSeen, useSeen } from "../state/seen";
import type { Conversation } from "../state/types";
import { ConversationRow } from "./ConversationRow";
import { Endless, Skeletons } from "./Endless";

export function ConversationList() {
  const { data, error, isPending, hasNextPage, isFetchingNextPage, fetchNextPage, refetch } =
    useConversations();
  const current = useRoute();
  const seen = useSeen();
  const rows = rowsOf(data);
  const open = rows.find(({ id }) => id === current);
  useTitle(open?.title);
  useSeenMark(open);

  if (isPending) return <Skeletons count={6} />;
  if (error !== null && rows.length === 0) {
    return (
      <div className="list-note">
        <p>{error.message}</p>
        <button type="button" className="secondary" onClick={() => refetch()}>
          Try again
        </button>
      </div>
    );
  }
  if (rows.length === 0)
    return <p className="list-note">Your conversations will be listed here.</p>;
  return (
    <>
      <ul className="rows" aria-label="Conversations">
        {rows.map((conversation) => (
          <ConversationRow
            key={conversation.id}
            conversation={conversation}
            current={conversation.id === current}
            unread={conversation.id !== current && isUnread(seen, conversation)}
          />
        ))}
      </ul>
      <Endless more={hasNextPage} loading={isFetchingNextPage} load={fetchNextPage} />
    </>
  );
}

function useTitle(title: string | undefined): void {
  useEffect(() => {
    document.title = title === undefined ? "Parley" : `${title} · Parley`;
  }, [title]);
}

/** What is open in a tab that somebody looks at is read. */
function useSeenMark(open: Conversation | undefined): void {
  useEffect(() => {
    if (open === undefined) return;
    const note = () => document.hidden || markSeen(open.id, open.message_count);
    note();
    document.addEventListener("visibilitychange", note);
    return () => document.removeEventListener("visibilitychange", note);
  }, [open]);
}
