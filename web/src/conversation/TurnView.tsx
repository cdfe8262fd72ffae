/** A turn: what was said, what is being said, and how it stands. */
import { memo } from "react";
import { WarnIcon } from "../shell/icons";
import type { LiveText, Message, Turn } from "../state/types";
import { toast } from "../toast";
import { Content } from "./Content";
import type { Group } from "./groups";
import { MessageView } from "./MessageView";

interface Props {
  group: Group;
  live: LiveText | null;
  /** Only the conversation's last turn can be done again. */
  last: boolean;
  retry: (turnId: string) => Promise<void>;
  decide: (
    turnId: string,
    callId: string,
    decision: "approve" | "deny",
    reason?: string,
  ) => Promise<void>;
}

const BROKEN_OFF: ReadonlySet<string> = new Set(["cancelled", "failed"]);

/** What there was of an answer when it was stopped or failed. */
function isCut({ role, status }: Message): boolean {
  return role === "assistant" && BROKEN_OFF.has(status);
}

export const TurnView = memo(function TurnView({ group, live, last, retry, decide }: Props) {
  const { turn, messages, decisions } = group;
  return (
    <>
      {messages.map((message) => (
        <MessageView
          key={message.id}
          message={message}
          decisions={message.tool_calls === null ? "" : decisions}
          decidable={turn?.status === "awaiting_approval"}
          askedAgain={isCut(message) && turn !== null && !BROKEN_OFF.has(turn.status)}
          decide={deciderOf(turn?.id, decide)}
        />
      ))}
      {turn?.status === "running" && <Running turn={turn} live={live} group={group} />}
      {turn?.status === "queued" && <Waiting turn={turn} />}
      {turn !== null && (
        <Ended turn={turn} again={last ? () => retry(turn.id).catch(toast) : null} />
      )}
    </>
  );
}, same);

/** Groups are made anew each time; what is in them is not. */
function same(a: Props, b: Props): boolean {
  return (
    a.live === b.live &&
    a.last === b.last &&
    a.retry === b.retry &&
    a.group.turn === b.group.turn &&
    a.group.decisions === b.group.decisions &&
    a.group.messages.length === b.group.messages.length &&
    a.group.messages.every((message, place) => message === b.group.messages[place])
  );
}

const deciders = new WeakMap<Props["decide"], Map<string, ReturnType<typeof made>>>();

function made(turnId: string, decide: Props["decide"]) {
  return (callId: string, decision: "approve" | "deny", reason?: string) =>
    decide(turnId, callId, decision, reason);
}

/** The same function for the same turn, so that messages are not drawn again for nothing. */
function deciderOf(turnId = "", decide: Props["decide"]) {
  const known = deciders.get(decide) ?? new Map<string, ReturnType<typeof made>>();
  deciders.set(decide, known);
  const found = known.get(turnId) ?? made(turnId, decide);
  known.set(turnId, found);
  return found;
}

function Running({ turn, live, group }: { turn: Turn; live: LiveText | null; group: Group }) {
  const working = group.messages.at(-1)?.tool_calls?.some(({ status }) => status === "running");
  // After an approval another worker goes on, and nothing was lost; a retry is told by what it follows.
  const again = turn.attempt > 1 && group.decisions === "" && !group.messages.some(isCut);
  return (
    <>
      {again && (
        <p className="attempt">
          Attempt {turn.attempt}: the one before broke off. What it had finished stays.
        </p>
      )}
      {live !== null && live.text !== "" ? (
        <article className="message assistant" aria-label="Assistant, answering" aria-busy="true">
          <Content text={live.text} growing />
        </article>
      ) : (
        !working && <Typing />
      )}
    </>
  );
}

function Typing() {
  return (
    <div className="typing" role="status" aria-label="The assistant is answering">
      <span />
      <span />
      <span />
    </div>
  );
}

function Waiting({ turn }: { turn: Turn }) {
  const { position } = turn;
  if (position === null) return <Typing />;
  return (
    <p className="waiting" role="status">
      {position <= 1 ? "Waiting: next in line" : `Waiting: ${ordinal(position)} in line`}
    </p>
  );
}

function ordinal(n: number): string {
  const tail = n % 100 > 10 && n % 100 < 14 ? 0 : n % 10;
  return `${n}${["th", "st", "nd", "rd"][tail] ?? "th"}`;
}

function Ended({ turn, again }: { turn: Turn; again: (() => void) | null }) {
  const retry = again !== null && (
    <button type="button" className="secondary" onClick={again}>
      Retry
    </button>
  );
  if (turn.status === "failed") {
    return (
      <div className="failure" role="status">
        <WarnIcon />
        <span>{turn.error?.message ?? "The answer could not be given."}</span>
        {retry}
      </div>
    );
  }
  if (turn.status !== "cancelled") return null;
  return (
    <div className="stopped">
      <span>Stopped</span>
      {retry}
    </div>
  );
}
