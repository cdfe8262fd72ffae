/** Two kinds of address: `/` is a conversation to begin, `/c/{id}` one that there is. */
import { Store, useStore } from "./store";

const CONVERSATION = /^\/c\/([0-9a-f-]{36})\/?$/;

function find(): string | null {
  return CONVERSATION.exec(location.pathname)?.[1] ?? null;
}

const route = new Store<string | null>(find());
addEventListener("popstate", () => route.set(find()));

/** The id of the conversation that the address names; null for a new one. */
export function useRoute(): string | null {
  return useStore(route);
}

export function pathOf(id: string | null): string {
  return id === null ? "/" : `/c/${id}`;
}

export function navigate(id: string | null, { replace = false } = {}): void {
  if (location.pathname !== pathOf(id)) {
    history[replace ? "replaceState" : "pushState"](null, "", pathOf(id));
  }
  route.set(id);
}

/** For links: a plain click stays on the page, any other is the browser's. */
export function follow(id: string | null) {
  return (event: React.MouseEvent): void => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey) return;
    if (event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(id);
  };
}
