/** Which panels are open, and the look; remembered on this device. */
import { read, write } from "../keep";
import { Store } from "../store";

export type Theme = "system" | "light" | "dark";
export type Asked = { what: "help" } | { what: "delete"; id: string; title: string } | null;

/** The list on a narrow screen. */
export const drawer = new Store(false);
export const tasksShown = new Store(read("tasks", false));
export const theme = new Store<Theme>(read<Theme>("theme", "system"));
/** The dialog that is open. */
export const asked = new Store<Asked>(null);
/** The conversation whose title is being written, and where. */
export const renaming = new Store<string | null>(null);

export function showTasks(shown: boolean): void {
  tasksShown.set(shown);
  write("tasks", shown);
}

export function choose(look: Theme): void {
  theme.set(look);
  write("theme", look);
  dress(look);
}

function dress(look: Theme): void {
  if (look === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = look;
}

dress(theme.get());
