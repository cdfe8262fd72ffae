import { useEffect } from "react";
import { useRoute } from "../router";
import { rowsOf, useConversations } from "../state/lists";
import { isUnread, useSeen } from "../state/seen";
import { ConversationRow } from "./ConversationRow";
import { Endless, Skeletons } from "./Endless";

export function ConversationList() {
  const { data, error, isPending, hasNextPage, isFetchingNextPage, fetchNextPage, refetch } =
    useConversations();
  const current = useRoute();
  const seen = useSeen();
  const rows = rowsOf(data);
  useTitle(rows.find(({ id }) => id === current)?.title);

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
