import { useCallback, useEffect } from "react";
import { navigate } from "../router";
import { drawer } from "../shell/panels";
import { activeTurn } from "../state/room";
import { useConversation } from "../state/useConversation";
import { toast } from "../toast";
import { Composer } from "./Composer";
import { Log } from "./Log";
import { NewConversation } from "./NewConversation";
import { Notices } from "./Notices";

export function ConversationPane({ id }: { id: string | null }) {
  return id === null ? <NewConversation /> : <Open id={id} />;
}

function Open({ id }: { id: string }) {
  const view = useConversation(id);
  const { state, problem, connection, send, cancel } = view;
  const active = activeTurn(state);
  const turnId = active?.id ?? null;
  const stop = useCallback(() => {
    if (turnId !== null) cancel(turnId).catch(toast);
  }, [turnId, cancel]);
  useStopKey(turnId === null ? null : stop);

  if (problem !== null || state.deleted) {
    return <Gone words={problem?.status === 404 ? null : problem?.detail} />;
  }
  return (
    <>
      <Notices connection={connection} />
      <Log view={view} />
      <Composer id={id} busy={active !== null} send={send} stop={stop} />
    </>
  );
}

function Gone({ words }: { words: string | null | undefined }) {
  return (
    <div className="welcome">
      <h2>There is no such conversation</h2>
      <p className="quiet">{words ?? "It was deleted, or it is somebody else's."}</p>
      <button type="button" className="primary" onClick={() => navigate(null)}>
        Start a new one
      </button>
    </div>
  );
}

/** Escape stops the answer, unless it has something to close or one writes in another field. */
function useStopKey(stop: (() => void) | null): void {
  useEffect(() => {
    if (stop === null) return;
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.isComposing || drawer.get()) return;
      const field = event.target instanceof Element && event.target.matches("input, select");
      if (!field && document.querySelector("dialog[open], [role=menu]") === null) stop();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, [stop]);
}
