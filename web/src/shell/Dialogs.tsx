import { Fragment } from "react";
import { navigate, pathOf, useRoute } from "../router";
import { rowsOf, useConversations, useRemove } from "../state/lists";
import type { Conversation } from "../state/types";
import { useStore } from "../store";
import { toast } from "../toast";
import { Dialog } from "./Dialog";
import { asked } from "./panels";

const COMMAND = navigator.platform.startsWith("Mac") ? "⌘" : "Ctrl";
const KEYS: readonly (readonly [string, ...string[]])[] = [
  ["Send the message", "Enter"],
  ["A new line", "Shift", "Enter"],
  ["New conversation", COMMAND, "Shift", "O"],
  ["Search", "/"],
  ["Stop the answer, or close what is open", "Esc"],
  ["This sheet", "?"],
];

/** By then the row has left the list. */
const GONE_MS = 150;

const close = () => asked.set(null);

export default function Dialogs() {
  const open = useStore(asked);
  if (open === null) return null;
  return open.what === "help" ? <Help /> : <Remove id={open.id} title={open.title} />;
}

function Help() {
  return (
    <Dialog title="Keyboard shortcuts" onClose={close}>
      <dl className="keys">
        {KEYS.map(([meaning, ...keys]) => (
          <div key={meaning}>
            <dt>
              {keys.map((key, place) => (
                <Fragment key={key}>
                  {place > 0 && " + "}
                  <kbd>{key}</kbd>
                </Fragment>
              ))}
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <div className="dialog-foot">
        <button type="button" className="primary" onClick={close}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

function Remove({ id, title }: { id: string; title: string }) {
  const current = useRoute();
  const rows = rowsOf(useConversations().data);
  const remove = useRemove();
  const confirmed = () => {
    close();
    const next = neighbour(rows, id);
    if (current === id) navigate(next, { replace: true });
    // By the time it is refused this dialog is gone: only the promise tells.
    remove.mutateAsync(id).catch(toast);
    focusRow(next);
  };
  return (
    <Dialog title="Delete this conversation?" onClose={close}>
      <p>
        “{title}” and all its messages will be gone; an answer that is being given stops. Tasks
        stay.
      </p>
      <div className="dialog-foot">
        {/* biome-ignore lint/a11y/noAutofocus: the harmless choice comes first in a dialog */}
        <button type="button" className="secondary" autoFocus onClick={close}>
          Cancel
        </button>
        <button type="button" className="danger-button" onClick={confirmed}>
          Delete
        </button>
      </div>
    </Dialog>
  );
}

/** The one that takes its place in the list. */
function neighbour(rows: readonly Conversation[], id: string): string | null {
  const place = rows.findIndex((row) => row.id === id);
  return place < 0 ? null : ((rows[place + 1] ?? rows[place - 1])?.id ?? null);
}

/** Where the button that was pressed is about to go, the focus moves on, if nothing else has it. */
function focusRow(id: string | null): void {
  if (id === null) return;
  setTimeout(() => {
    if (document.activeElement !== null && document.activeElement !== document.body) return;
    document.querySelector<HTMLElement>(`.rows a[href="${pathOf(id)}"]`)?.focus();
  }, GONE_MS);
}
