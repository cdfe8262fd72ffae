import type { ConversationView, Pending } from "../state/types";

type Props = { one: Pending; offline: boolean } & Pick<ConversationView, "resend" | "discard">;

/** Said here, and not answered by the server yet. */
export function PendingView({ one, offline, resend, discard }: Props) {
  return (
    <article className="message user" aria-label="You, just now">
      <p className="bubble pending">{one.content}</p>
      {one.status === "sending" ? (
        <p className="sending">
          {offline ? "Not sent yet: it goes out when you are back." : "Sending…"}
        </p>
      ) : (
        <div className="failure" role="status">
          <span>{one.problem?.detail ?? "It could not be sent."}</span>
          <button type="button" className="secondary" onClick={() => resend(one.key)}>
            Send again
          </button>
          <button type="button" className="secondary" onClick={() => discard(one.key)}>
            Discard
          </button>
        </div>
      )}
    </article>
  );
}
