import { navigate, useRoute } from "../router";
import { useRemove } from "../state/lists";
import { useStore } from "../store";
import { toast } from "../toast";
import { Dialog } from "./Dialog";
import { asked } from "./panels";

const KEYS: readonly (readonly [string, string])[] = [
  ["Enter", "Send the message"],
  ["Shift + Enter", "A new line"],
  ["Ctrl or ⌘ + Shift + O", "New conversation"],
  ["/", "Search"],
  ["Esc", "Stop the answer, or close what is open"],
  ["?", "This sheet"],
];

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
        {KEYS.map(([keys, meaning]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
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
  const remove = useRemove();
  const confirmed = () => {
    close();
    if (current === id) navigate(null, { replace: true });
    remove.mutate(id, { onError: toast });
  };
  return (
    <Dialog title="Delete this conversation?" onClose={close}>
      <p>“{title}” and all its messages will be gone. What is being answered in it is stopped.</p>
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
