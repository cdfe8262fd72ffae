import { memo } from "react";
import { follow, pathOf } from "../router";
import type { Conversation } from "../state/types";
import { useStore } from "../store";
import { MoreIcon } from "./icons";
import { Menu } from "./Menu";
import { optionsOf } from "./options";
import { drawer, renaming } from "./panels";
import { TitleInput, useFocusBack } from "./TitleInput";
import { ago, full } from "./time";

interface Props {
  conversation: Conversation;
  current: boolean;
  unread: boolean;
  /** It is drawn again as time passes. */
  now: number;
}

const PLACE = "row:";

export const ConversationRow = memo(function ConversationRow({
  conversation,
  current,
  unread,
  now,
}: Props) {
  const { id, title, updated_at, last_message_preview, active_turn } = conversation;
  const writing = useStore(renaming) === PLACE + id;
  const link = useFocusBack<HTMLAnchorElement>(writing);
  const go = follow(id);
  return (
    <li className={current ? "row current" : "row"}>
      {writing ? (
        <TitleInput id={id} title={title} />
      ) : (
        <a
          ref={link}
          href={pathOf(id)}
          aria-current={current ? "page" : undefined}
          onClick={(event) => {
            go(event);
            drawer.set(false);
          }}
        >
          <span className={unread ? "row-title unread" : "row-title"}>{title}</span>
          <Mark status={active_turn?.status} unread={unread} />
          <time dateTime={updated_at} title={full(updated_at)}>
            {ago(updated_at, now)}
          </time>
          <span className="row-preview">{last_message_preview || "Nothing said yet"}</span>
        </a>
      )}
      <Menu
        label={`Conversation options: ${title}`}
        icon={<MoreIcon />}
        choices={optionsOf(id, title, PLACE)}
      />
    </li>
  );
});

function Mark({ status, unread }: { status: string | undefined; unread: boolean }) {
  const words =
    status === "awaiting_approval"
      ? "Needs your approval"
      : status
        ? "Answering"
        : unread
          ? "New answer"
          : null;
  if (words === null) return null;
  const kind = status === "awaiting_approval" ? "asks" : status ? "runs" : "news";
  return (
    <span className={`mark ${kind}`} title={words}>
      <span className="visually-hidden">{words}</span>
    </span>
  );
}
