/** Short words at the edge of the page, from anywhere: what went wrong, in the problem's own words. */
import { useEffect, useState } from "react";
import { IconButton } from "./shell/IconButton";
import { CloseIcon } from "./shell/icons";
import { Store, useStore } from "./store";

interface Toast {
  id: number;
  text: string;
}

const STAYS_MS = 8000;
const MOST = 3;
const toasts = new Store<readonly Toast[]>([]);
let last = 0;

/** Of an error its sentence. */
export function toast(said: unknown): void {
  const text = typeof said === "string" ? said : sentenceOf(said);
  const others = toasts.get().filter((one) => one.text !== text);
  toasts.set([...others, { id: ++last, text }].slice(-MOST));
}

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : "Something went wrong.";
}

function close(id: number): void {
  toasts.set(toasts.get().filter((one) => one.id !== id));
}

export function Toasts() {
  const shown = useStore(toasts);
  return (
    <section className="toasts" role="alert" aria-atomic="false" aria-label="Notices">
      {shown.map((one) => (
        <ToastView key={one.id} {...one} />
      ))}
    </section>
  );
}

function ToastView({ id, text }: Toast) {
  const [held, setHeld] = useState(false);
  useEffect(() => {
    if (held) return;
    const timer = setTimeout(() => close(id), STAYS_MS);
    return () => clearTimeout(timer);
  }, [id, held]);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: it only waits while somebody reads
    <div
      className="toast"
      onPointerEnter={() => setHeld(true)}
      onPointerLeave={() => setHeld(false)}
      onFocus={() => setHeld(true)}
      onBlur={() => setHeld(false)}
    >
      <span>{text}</span>
      <IconButton label="Close notice" onClick={() => close(id)}>
        <CloseIcon />
      </IconButton>
    </div>
  );
}
