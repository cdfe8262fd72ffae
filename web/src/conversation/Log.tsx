import { useCallback, useEffect, useLayoutEffect, useMemo, useRef } from "react";
import { useStickToBottom } from "use-stick-to-bottom";
import { Skeletons } from "../shell/Endless";
import { DownIcon } from "../shell/icons";
import type { ConversationView } from "../state/types";
import { toast } from "../toast";
import { Announcer } from "./Announcer";
import { groupsOf } from "./groups";
import { PendingView } from "./PendingView";
import { TurnView } from "./TurnView";

/** What was said, from the oldest that is loaded to the newest; it follows unless one looks back. */
export function Log({ view }: { view: ConversationView }) {
  const { state, pending, loaded, connection } = view;
  const { scrollRef, contentRef, isAtBottom, scrollToBottom } = useStickToBottom({
    initial: "instant",
    resize: "instant",
  });
  useStillOnOlder(scrollRef, state.messages[0]?.id);
  const groups = useMemo(() => groupsOf(state), [state]);
  return (
    <div className="log-place">
      <section
        ref={scrollRef}
        className="log-scroll"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it is scrolled by keys too
        tabIndex={0}
        aria-label="Conversation"
      >
        <div ref={contentRef} className="column" role="log" aria-live="off" aria-label="Messages">
          {!loaded && <Skeletons count={4} />}
          {loaded && state.hasOlder && <Older view={view} looksBack={!isAtBottom} />}
          {groups.map((group, place) => (
            <TurnView
              key={group.key}
              group={group}
              live={state.live?.turnId === group.key ? state.live : null}
              last={place === groups.length - 1}
              retry={view.retry}
              decide={view.decide}
            />
          ))}
          {pending.map((one) => (
            <PendingView
              key={one.key}
              one={one}
              offline={connection === "offline"}
              resend={view.resend}
              discard={view.discard}
            />
          ))}
        </div>
      </section>
      {!isAtBottom && (
        <button type="button" className="to-bottom" onClick={() => scrollToBottom()}>
          <DownIcon /> Latest
        </button>
      )}
      <Announcer state={state} loaded={loaded} isNew={view.isNew} />
    </div>
  );
}

/** It loads by itself where it comes into view, once somebody looks back. */
function Older({ view, looksBack }: { view: ConversationView; looksBack: boolean }) {
  const button = useRef<HTMLButtonElement>(null);
  const { loadOlder, loadingOlder } = view;
  const load = useCallback(() => void loadOlder().catch(toast), [loadOlder]);
  useEffect(() => {
    if (button.current === null || !looksBack || loadingOlder) return;
    const watch = new IntersectionObserver(([entry]) => entry?.isIntersecting && load());
    watch.observe(button.current);
    return () => watch.disconnect();
  }, [looksBack, loadingOlder, load]);
  return (
    <button ref={button} type="button" className="older" disabled={loadingOlder} onClick={load}>
      {loadingOlder ? "Loading older messages…" : "Load older messages"}
    </button>
  );
}

/** Older messages come above what one reads, and what one reads stays where it is. */
function useStillOnOlder(scroll: React.RefObject<HTMLElement | null>, first: string | undefined) {
  const before = useRef({ first, height: 0, top: 0 });
  useLayoutEffect(() => {
    const box = scroll.current;
    if (box === null) return;
    const known = before.current;
    if (known.first !== undefined && first !== known.first && known.height > 0) {
      box.scrollTop = known.top + (box.scrollHeight - known.height);
    }
    before.current = { first, height: box.scrollHeight, top: box.scrollTop };
  });
  useLayoutEffect(() => {
    const box = scroll.current;
    if (box === null) return;
    const note = () => {
      before.current.top = box.scrollTop;
      before.current.height = box.scrollHeight;
    };
    box.addEventListener("scroll", note, { passive: true });
    return () => box.removeEventListener("scroll", note);
  }, [scroll]);
}
