import { lazy, Suspense, useEffect, useState } from "react";
import { follow } from "../router";
import { useSession } from "../session";
import { useStore } from "../store";
import { toast } from "../toast";
import { ConversationList } from "./ConversationList";
import { Skeletons } from "./Endless";
import { IconButton } from "./IconButton";
import { CloseIcon, PlusIcon, SearchIcon } from "./icons";
import { asked, choose, drawer, type Theme, theme } from "./panels";

const SearchResults = lazy(() => import("./SearchResults"));
const QUIET_MS = 250;
const THEMES: Record<Theme, string> = { system: "System", light: "Light", dark: "Dark" };

export function Sidebar() {
  const open = useStore(drawer);
  const [typed, setTyped] = useState("");
  const said = useQuiet(typed.trim());
  const go = follow(null);
  return (
    <nav id="sidebar" className={open ? "sidebar open" : "sidebar"} aria-label="Conversations">
      <div className="sidebar-top">
        <span className="brand">Parley</span>
        <IconButton
          label="Close the list"
          className="only-narrow"
          onClick={() => drawer.set(false)}
        >
          <CloseIcon />
        </IconButton>
      </div>
      <a
        className="new"
        href="/"
        onClick={(event) => {
          go(event);
          drawer.set(false);
        }}
      >
        <PlusIcon /> New conversation
      </a>
      <div className="search">
        <SearchIcon />
        <input
          id="search"
          type="search"
          placeholder="Search"
          aria-label="Search conversations"
          maxLength={200}
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Escape") return;
            event.stopPropagation();
            setTyped("");
            event.currentTarget.blur();
          }}
        />
      </div>
      <div className="sidebar-list">
        {said === "" ? (
          <ConversationList />
        ) : (
          <Suspense fallback={<Skeletons count={4} />}>
            <SearchResults said={said} />
          </Suspense>
        )}
      </div>
      <Foot />
    </nav>
  );
}

function Foot() {
  const { user, signOut } = useSession();
  const look = useStore(theme);
  return (
    <div className="sidebar-foot">
      <span className="who" title={user ?? ""}>
        {user}
      </span>
      <label className="theme">
        <span className="visually-hidden">Colours</span>
        <select value={look} onChange={(event) => choose(event.currentTarget.value as Theme)}>
          {Object.entries(THEMES).map(([value, words]) => (
            <option key={value} value={value}>
              {words}
            </option>
          ))}
        </select>
      </label>
      <IconButton label="Keyboard shortcuts" onClick={() => asked.set({ what: "help" })}>
        <span aria-hidden="true">?</span>
      </IconButton>
      <button type="button" className="secondary" onClick={() => signOut().catch(toast)}>
        Sign out
      </button>
    </div>
  );
}

/** What was typed, once it rests. */
function useQuiet(text: string): string {
  const [quiet, setQuiet] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setQuiet(text), text === "" ? 0 : QUIET_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return quiet;
}
