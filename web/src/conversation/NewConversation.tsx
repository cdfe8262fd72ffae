import { useCallback, useState } from "react";
import { navigate } from "../router";
import { useDraft } from "../state/drafts";
import { startConversation } from "../state/useConversation";
import { toast } from "../toast";
import { Composer } from "./Composer";

const EXAMPLES = [
  "Create a task called 'Review Q4 report'",
  "What is on my list?",
  "Tell me a story about a king and a dragon",
  "What can you do?",
];

export function NewConversation() {
  const [started, setStarted] = useState<string | null>(null);
  const [, setDraft] = useDraft(null);
  const begin = useCallback(
    async (content: string) => {
      setStarted(content);
      try {
        const id = await startConversation(content);
        // Whoever went elsewhere meanwhile stays there.
        if (location.pathname === "/") navigate(id);
      } catch (error) {
        setStarted(null);
        setDraft(content);
        toast(error);
      }
    },
    [setDraft],
  );
  return (
    <>
      <div className="log-place">
        {started === null ? (
          <Welcome begin={begin} />
        ) : (
          <div className="column">
            <article className="message user" aria-label="You, just now">
              <p className="bubble pending">{started}</p>
              <p className="sending">Sending…</p>
            </article>
          </div>
        )}
      </div>
      <Composer
        key={started === null ? "open" : "sent"}
        id={null}
        busy={false}
        send={begin}
        stop={nothing}
      />
    </>
  );
}

function nothing(): void {}

function Welcome({ begin }: { begin: (content: string) => void }) {
  return (
    <div className="welcome">
      <h2>What can I do for you?</h2>
      <p className="quiet">Ask something, or begin with one of these.</p>
      <ul>
        {EXAMPLES.map((example) => (
          <li key={example}>
            <button type="button" onClick={() => begin(example)}>
              {example}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
