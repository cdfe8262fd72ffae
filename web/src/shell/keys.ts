/** The keys that work everywhere on the page. `Esc` belongs to what it stops or closes. */
import { useEffect } from "react";
import { navigate } from "../router";
import { NARROW } from "./drawer";
import { asked, drawer, hideOverlays } from "./panels";

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]")
  );
}

/** Under a dialog the page rests. */
function isAsking(): boolean {
  return asked.get() !== null || document.querySelector("dialog[open]") !== null;
}

function onKey(event: KeyboardEvent): void {
  if (isAsking() || event.defaultPrevented) return;
  const command = event.ctrlKey || event.metaKey;
  if (command && event.shiftKey && event.key.toLowerCase() === "o") {
    event.preventDefault();
    begin();
  } else if (event.key === "Escape" && hideOverlays()) {
    // It has closed something: it must not stop an answer as well.
    event.stopImmediatePropagation();
  }
  if (command || event.altKey || isTyping(event.target)) return;
  if (event.key === "/") {
    event.preventDefault();
    search();
  } else if (event.key === "?") asked.set({ what: "help" });
}

function begin(): void {
  hideOverlays();
  navigate(null);
  focusSoon("composer");
}

function search(): void {
  if (matchMedia(NARROW).matches) drawer.set(true);
  focusSoon("search");
}

/** Once it is drawn. */
function focusSoon(id: string): void {
  requestAnimationFrame(() => document.getElementById(id)?.focus());
}

export function useKeys(): void {
  useEffect(() => {
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}
