import { type KeyboardEvent, type RefObject, useEffect, useRef } from "react";
import { useRename } from "../state/lists";
import { toast } from "../toast";
import { renaming } from "./panels";

const LONGEST = 200;

/** The title, where it stands: Enter and leaving keep it, Escape doesn't. */
export function TitleInput({ id, title }: { id: string; title: string }) {
  const input = useRef<HTMLInputElement>(null);
  const rename = useRename();
  useEffect(() => {
    input.current?.focus();
    input.current?.select();
  }, []);

  const end = (keep: boolean) => {
    if (renaming.get() === null) return;
    renaming.set(null);
    const given = input.current?.value.trim() ?? "";
    if (!keep || given === "" || given === title) return;
    // By the time it is refused this field is gone: only the promise tells.
    rename.mutateAsync({ id, title: given }).catch(toast);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing) return;
    if (event.key === "Enter") end(true);
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

/** For what stands there again once the title is written: it gets the focus, if nothing else has. */
export function useFocusBack<T extends HTMLElement>(writing: boolean): RefObject<T | null> {
  const back = useRef<T>(null);
  const wrote = useRef(writing);
  useEffect(() => {
    const isFree = document.activeElement === null || document.activeElement === document.body;
    if (wrote.current && !writing && isFree) back.current?.focus();
    wrote.current = writing;
  }, [writing]);
  return back;
}
