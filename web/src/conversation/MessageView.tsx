import { memo } from "react";
import { IconButton } from "../shell/IconButton";
import { CopyIcon } from "../shell/icons";
import { full, oclock } from "../shell/time";
import type { Message } from "../state/types";
import { toast } from "../toast";
import { Content } from "./Content";
import { copy } from "./copy";
import { type Decide, ToolCard } from "./ToolCard";

interface Props {
  message: Message;
  /** Of its calls that asked somebody: the decisions, as `id:decision`, in one string. */
  decisions: string;
  decidable: boolean;
  decide: Decide;
  /** It broke off, and another answer was asked for. */
  askedAgain: boolean;
}

export const MessageView = memo(function MessageView({
  message,
  decisions,
  decidable,
  decide,
  askedAgain,
}: Props) {
  const { content, tool_calls } = message;
  if (message.role === "user") return <Said message={message} />;
  const decided = new Map(decisions.split(" ").map((one) => one.split("=") as [string, string]));
  return (
    <article className="message assistant" aria-label={`Assistant, ${oclock(message.created_at)}`}>
      {content !== "" && <Content text={content} />}
      {tool_calls?.map((call) => (
        <ToolCard
          key={call.id}
          call={call}
          decision={decided.get(call.id) ?? null}
          decidable={decidable && call.status === "awaiting_approval"}
          decide={decide}
        />
      ))}
      {askedAgain && (
        <p className="attempt">
          {message.status === "cancelled" ? "Stopped here." : "It broke off here."} Asked again:
        </p>
      )}
      {content !== "" && !askedAgain && <Foot message={message} />}
    </article>
  );
});

function Said({ message }: { message: Message }) {
  return (
    <article
      className="message user"
      aria-label={`You, ${oclock(message.created_at)}`}
      title={full(message.created_at)}
    >
      <p className="bubble">{message.content}</p>
    </article>
  );
}

function Foot({ message: { content, created_at } }: { message: Message }) {
  const onCopy = async () => {
    if (await copy(content)) toast("Copied.");
  };
  return (
    <div className="message-foot">
      <IconButton label="Copy answer" onClick={onCopy}>
        <CopyIcon />
      </IconButton>
      <time dateTime={created_at} title={full(created_at)}>
        {oclock(created_at)}
      </time>
    </div>
  );
}
