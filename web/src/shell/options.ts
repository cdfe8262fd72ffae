import type { Choice } from "./Menu";
import { asked, renaming } from "./panels";

/** What can be done with a conversation; `place` is where its title is written anew. */
export function optionsOf(id: string, title: string, place: string): Choice[] {
  const exported = (format: string) => `/api/chat/conversations/${id}/export?format=${format}`;
  return [
    { label: "Rename", choose: () => renaming.set(place + id) },
    { label: "Export as Markdown", href: exported("markdown") },
    { label: "Export as JSON", href: exported("json") },
    { label: "Delete", danger: true, choose: () => asked.set({ what: "delete", id, title }) },
  ];
}
