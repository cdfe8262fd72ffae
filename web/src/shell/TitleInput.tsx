import { type KeyboardEvent, useEffect, useRef } from "react";
import { useRename } from "../state/lists";
import { toast } from "../toast";
import { renaming } from "./panels";

const LONGEST = 200;

/** The title, where it stands: Enter and leaving keep it, Escape doesn't. */
export function TitleInput({ id, title }: { id: string; title: string }) {
  const input = useRef<HTMLInputElement>(null);
  const rename = useRename();
  useEffect(() => input.current?.select(), []);

  const end = (keep: boolean) => {
    if (renaming.get() === null) return;
    renaming.set(null);
    const given = input.current?.value.trim() ?? "";
    if (keep && given !== "" && given !== title) {
      rename.mutate({ id, title: given }, { onError: toast });
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && !event.nativeEvent.isComposing) end(true);
    if (event.key !== "Escape") return;
    event.stopPropagation();
    end(false);
  };
  return (
    <input
      ref={input}
      className="title-input"
      aria-label="Title"
      defaultValue={title}
      maxLength={LONGEST}
      onKeyDown={onKeyDown}
      onBlur={() => end(true)}
    />
  );
}
