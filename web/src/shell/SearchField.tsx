import type { KeyboardEvent } from "react";
import { IconButton } from "./IconButton";
import { CloseIcon, SearchIcon } from "./icons";
import { drawer } from "./panels";

interface Props {
  typed: string;
  type: (text: string) => void;
}

/** Escape empties it; once it is empty Escape leaves it. */
export function SearchField({ typed, type }: Props) {
  const clear = () => {
    type("");
    document.getElementById("search")?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || event.nativeEvent.isComposing) return;
    event.preventDefault();
    event.stopPropagation();
    if (typed !== "") type("");
    else leave();
  };
  return (
    <search className="search">
      <SearchIcon />
      <input
        id="search"
        type="search"
        placeholder="Search"
        aria-label="Search conversations"
        title="Search (/)"
        autoComplete="off"
        enterKeyHint="search"
        maxLength={200}
        value={typed}
        onInput={(event) => type(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      {typed !== "" && (
        <IconButton label="Clear the search" className="clear" onClick={clear}>
          <CloseIcon />
        </IconButton>
      )}
    </search>
  );
}

function leave(): void {
  if (drawer.get()) drawer.set(false);
  else document.getElementById("composer")?.focus();
}
