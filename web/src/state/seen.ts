/** What was seen of each conversation on this device, by its number of messages. */
import { ofPerson, read, write } from "../keep";
import { session } from "../session";
import { Store, useStore } from "../store";
import type { Conversation } from "./types";

type Seen = Readonly<Record<string, number>>;

const MOST = 500;
const store = new Store<Seen>({});
let loadedFor = "";

function name(): string {
  return ofPerson("seen");
}

function load(): Seen {
  if (loadedFor !== name()) {
    loadedFor = name();
    store.set(read<Seen>(loadedFor, {}));
  }
  return store.get();
}

session.subscribe(() => {
  if (session.get().status === "signed-out") loadedFor = "";
});

export function useSeen(): Seen {
  load();
  return useStore(store);
}

/** One that this device has never met counts as read: a new device is not all news. */
export function isUnread(seen: Seen, conversation: Conversation): boolean {
  const known = seen[conversation.id];
  return known !== undefined && conversation.message_count > known;
}

export function markSeen(id: string, count: number): void {
  const seen = load();
  if (seen[id] === count) return;
  const { [id]: _, ...others } = seen;
  const kept = Object.entries(others).slice(-(MOST - 1));
  const next = { ...Object.fromEntries(kept), [id]: count };
  store.set(next);
  write(name(), next);
}

let watched: string | null = null;

/** The conversation that is open: what comes in it is seen, as long as anybody looks at the page. */
export function watch(id: string | null): void {
  watched = id;
}

/** What a list says: of a conversation new to this device, or of the one that is looked at. */
export function meet(conversations: readonly Conversation[]): void {
  const seen = load();
  for (const { id, message_count } of conversations) {
    const isSeen = id === watched && !document.hidden;
    if (isSeen || seen[id] === undefined) markSeen(id, message_count);
  }
}
