/** A panel at the side that lies over the rest where there is no room beside it. */
import {
  type KeyboardEvent,
  type RefObject,
  useLayoutEffect,
  useRef,
  useSyncExternalStore,
} from "react";

/** As in `shell.css`. */
export const NARROW = "(max-width: 760px)";
export const NO_ROOM_FOR_TASKS = "(max-width: 1100px)";

export function useMedia(query: string): boolean {
  return useSyncExternalStore(
    (listener) => {
      const media = matchMedia(query);
      media.addEventListener("change", listener);
      return () => media.removeEventListener("change", listener);
    },
    () => matchMedia(query).matches,
  );
}

interface Drawer {
  ref: RefObject<HTMLDivElement | null>;
  tabIndex?: number;
  role?: "dialog";
  "aria-modal"?: true;
  "aria-label"?: string;
  onKeyDown?: (event: KeyboardEvent) => void;
}

/**
 * What makes it a dialog as long as it is `over` the rest, which must be inert then: it has the
 * focus, Escape closes it, and the focus goes back to where it came from.
 */
export function useDrawer(over: boolean, label: string, close: () => void): Drawer {
  const ref = useRef<HTMLDivElement>(null);
  useFocusWithin(over, ref);
  if (!over) return { ref };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    // Only the drawer: Escape means something else to the page.
    event.stopPropagation();
    close();
  };
  return {
    ref,
    tabIndex: -1,
    role: "dialog",
    "aria-modal": true,
    "aria-label": label,
    onKeyDown,
  };
}

function useFocusWithin(over: boolean, ref: RefObject<HTMLElement | null>): void {
  // In the drawing that opened it: by the time it is drawn it is inert, and has lost the focus.
  const before = useRef<Element | null>(null);
  if (over) before.current ??= document.activeElement;
  useLayoutEffect(() => {
    if (!over) return;
    const box = ref.current;
    box?.focus();
    return () => {
      const now = document.activeElement;
      const isLost = now === null || now === document.body || box?.contains(now);
      const { current: back } = before;
      before.current = null;
      // It is inert until the page is drawn again.
      if (isLost && back instanceof HTMLElement) requestAnimationFrame(() => back.focus());
    };
  }, [over, ref]);
}
