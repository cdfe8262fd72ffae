/** Which panels are open, and the look; remembered on this device. */
import { read, write } from "../keep";
import { Store } from "../store";
import { NO_ROOM_FOR_TASKS } from "./drawer";

export type Theme = "system" | "light" | "dark";
export type Asked = { what: "help" } | { what: "delete"; id: string; title: string } | null;

const GROUNDS = { light: "#ffffff", dark: "#16181d" } as const;

function hasRoomForTasks(): boolean {
  return !matchMedia(NO_ROOM_FOR_TASKS).matches;
}

/** The list on a narrow screen. */
export const drawer = new Store(false);
/** Where they would lie over the conversation they are opened by hand each time. */
export const tasksShown = new Store<boolean>(hasRoomForTasks() && read("tasks", false));
export const theme = new Store<Theme>(read<Theme>("theme", "system"));
/** The dialog that is open. */
export const asked = new Store<Asked>(null);
/** The conversation whose title is being written, and where. */
export const renaming = new Store<string | null>(null);

export function showTasks(shown: boolean): void {
  tasksShown.set(shown);
  if (hasRoomForTasks()) write("tasks", shown);
}

/** Whether there was something that lay over the conversation. */
export function hideOverlays(): boolean {
  const tasksLieOver = tasksShown.get() && !hasRoomForTasks();
  if (!drawer.get() && !tasksLieOver) return false;
  drawer.set(false);
  if (tasksLieOver) tasksShown.set(false);
  return true;
}

export function choose(look: Theme): void {
  theme.set(look);
  write("theme", look);
  dress(look);
}

function dress(look: Theme): void {
  if (look === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = look;
  // What the browser draws around the page goes with it.
  for (const meta of document.querySelectorAll<HTMLMetaElement>("meta[name=theme-color]")) {
    const own = meta.media.includes("dark") ? "dark" : "light";
    meta.content = GROUNDS[look === "system" ? own : look];
  }
}

dress(theme.get());
