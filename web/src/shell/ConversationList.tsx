import { useRoute } from "../router";
import { rowsOf, useConversations } from "../state/lists";
import { isUnread, useSeen } from "../state/seen";
import { ConversationRow } from "./ConversationRow";
import { Endless, Skeletons } from "./Endless";
import { useMinute } from "./minute";
import { Trouble } from "./Trouble";

export function ConversationList() {
  const list = useConversations();
  const current = useRoute();
  const seen = useSeen();
  const now = useMinute();
  const rows = rowsOf(list.data);

  if (list.isPending) return <Skeletons count={6} />;
  if (list.error !== null && rows.length === 0) {
    return <Trouble error={list.error} again={list.refetch} />;
  }
  if (rows.length === 0) {
    return <p className="list-note">Your conversations will be listed here.</p>;
  }
  return (
    <>
      <ul className="rows" aria-label="Conversations">
        {rows.map((conversation) => (
          <ConversationRow
            key={conversation.id}
            conversation={conversation}
            current={conversation.id === current}
            unread={conversation.id !== current && isUnread(seen, conversation)}
            now={now}
          />
        ))}
      </ul>
      <Endless
        more={list.hasNextPage}
        loading={list.isFetchingNextPage}
        error={list.isFetchNextPageError ? list.error : null}
        load={list.fetchNextPage}
      />
    </>
  );
}
