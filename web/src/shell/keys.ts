/** The keys that work everywhere on the page. `Esc` belongs to what it stops or closes. */
import { useEffect } from "react";
import { navigate } from "../router";
import { asked, drawer } from "./panels";

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]")
  );
}

function onKey(event: KeyboardEvent): void {
  const command = event.ctrlKey || event.metaKey;
  if (command && event.shiftKey && event.key.toLowerCase() === "o") {
    event.preventDefault();
    navigate(null);
    requestAnimationFrame(() => document.getElementById("composer")?.focus());
  } else if (event.key === "Escape") drawer.set(false);
  if (command || event.altKey || isTyping(event.target) || asked.get() !== null) return;
  if (event.key === "/") {
    event.preventDefault();
    drawer.set(true);
    document.getElementById("search")?.focus();
  } else if (event.key === "?") asked.set({ what: "help" });
}

export function useKeys(): void {
  useEffect(() => {
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}
