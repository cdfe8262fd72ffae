import { memo, useState } from "react";
import { CheckIcon, ToolIcon, WarnIcon } from "../shell/icons";
import { lasted, oclock } from "../shell/time";
import type { ToolCall } from "../state/types";
import { toast } from "../toast";
import { Value } from "./Value";

export type Decide = (
  callId: string,
  decision: "approve" | "deny",
  reason?: string,
) => Promise<void>;

interface Props {
  call: ToolCall;
  /** What its owner said, where the tool asked; null where it asked nobody. */
  decision: string | null;
  /** Now is the time to decide. */
  decidable: boolean;
  decide: Decide;
}

export const ToolCard = memo(function ToolCard({ call, decision, decidable, decide }: Props) {
  if (call.status === "awaiting_approval") {
    return <Approval call={call} decidable={decidable} decide={decide} />;
  }
  if (call.status === "running") {
    return (
      <div className="tool running" role="status">
        <span className="spinner" aria-hidden="true" />
        AI is using: <b>{call.tool_name}</b>
      </div>
    );
  }
  return <Done call={call} decision={decision} />;
});

function Done({ call, decision }: { call: ToolCall; decision: string | null }) {
  const error = errorOf(call.result);
  const failed = call.status !== "completed" || error !== null;
  return (
    <details className={failed ? "tool failed" : "tool"}>
      <summary>
        {failed ? <WarnIcon /> : <CheckIcon />}
        <b>{call.tool_name}</b>
        <span className="tool-words">{failed ? wordsOf(error) : summaryOf(call)}</span>
        {decision !== null && decision !== "awaited" && (
          <span className="badge">{decision === "approve" ? "Approved" : "Denied"}</span>
        )}
        {call.duration_ms !== null && <span className="quiet">{lasted(call.duration_ms)}</span>}
      </summary>
      <div className="tool-body">
        <h3>Arguments</h3>
        <Value value={call.arguments} />
        <h3>{failed ? "What went wrong" : "Result"}</h3>
        <Value value={call.result} />
        {call.started_at !== null && (
          <p className="quiet">
            Started at <time dateTime={call.started_at}>{oclock(call.started_at)}</time>
          </p>
        )}
      </div>
    </details>
  );
}

type ToolError = { code?: string; message?: string };

function errorOf(result: unknown): ToolError | null {
  if (typeof result !== "object" || result === null || !("error" in result)) return null;
  const { error } = result;
  return typeof error === "object" && error !== null ? error : { message: String(error) };
}

function wordsOf(error: ToolError | null): string {
  if (error?.code === "outcome_unknown") return "was interrupted: whether it was done is not known";
  return error?.message ?? "did not work";
}

/** The one thing in a result that a person would name it by. */
function summaryOf({ result }: ToolCall): string {
  if (Array.isArray(result)) return countOf(result.length);
  if (typeof result !== "object" || result === null) return "";
  for (const value of Object.values(result)) if (Array.isArray(value)) return countOf(value.length);
  const named = Object.entries(result).find(([name]) => name === "title" || name === "name");
  const inner = Object.values(result).find((value) => typeof value === "object" && value !== null);
  const title = named?.[1] ?? (inner as { title?: unknown } | undefined)?.title;
  return typeof title === "string" ? `“${title}”` : "";
}

function countOf(count: number): string {
  return count === 1 ? "1 result" : `${count} results`;
}

function Approval({ call, decidable, decide }: Omit<Props, "decision">) {
  const [busy, setBusy] = useState(false);
  const [reason, setReason] = useState("");
  const say = async (decision: "approve" | "deny") => {
    setBusy(true);
    try {
      await decide(call.id, decision, reason);
    } catch (error) {
      toast(error);
      setBusy(false);
    }
  };
  const off = busy || !decidable;
  return (
    <fieldset className="tool approval" aria-label={`Approval of ${call.tool_name}`}>
      <p>
        <ToolIcon /> The AI wants to use <b>{call.tool_name}</b>. Shall it?
      </p>
      <Value value={call.arguments} />
      <label>
        Reason (optional, the AI reads it)
        <input
          value={reason}
          maxLength={1000}
          onInput={(event) => setReason(event.currentTarget.value)}
        />
      </label>
      <div className="tool-foot">
        <button type="button" className="primary" disabled={off} onClick={() => say("approve")}>
          Approve
        </button>
        <button type="button" className="secondary" disabled={off} onClick={() => say("deny")}>
          Deny
        </button>
        {!decidable && !busy && <span className="quiet">Other calls are still at work.</span>}
      </div>
    </fieldset>
  );
}
