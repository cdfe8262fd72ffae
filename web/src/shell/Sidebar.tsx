import { lazy, useEffect, useState } from "react";
import { follow } from "../router";
import { useStore } from "../store";
import { Later } from "./Boundary";
import { ConversationList } from "./ConversationList";
import { useDrawer } from "./drawer";
import { Skeletons } from "./Endless";
import { Foot } from "./Foot";
import { IconButton } from "./IconButton";
import { CloseIcon, PlusIcon } from "./icons";
import { drawer } from "./panels";
import { SearchField } from "./SearchField";

const SearchResults = lazy(() => import("./SearchResults"));
const QUIET_MS = 250;

/** The list of conversations; on a narrow screen a drawer over the rest. */
export function Sidebar({ over, inert }: { over: boolean; inert: boolean }) {
  const open = useStore(drawer);
  const [typed, setTyped] = useState("");
  const said = useQuiet(typed.trim());
  const dialog = useDrawer(over, "Conversations", hide);
  return (
    <div id="sidebar" className={open ? "sidebar open" : "sidebar"} inert={inert} {...dialog}>
      <nav className="sidebar-nav" aria-label="Conversations">
        <div className="sidebar-top">
          <span className="brand">Parley</span>
          <IconButton label="Close the list" className="only-narrow" onClick={hide}>
            <CloseIcon />
          </IconButton>
        </div>
        <NewLink />
        <SearchField typed={typed} type={setTyped} />
        <div className="sidebar-list">
          {said === "" ? (
            <ConversationList />
          ) : (
            <Later meanwhile={<Skeletons count={4} />}>
              <SearchResults said={said} />
            </Later>
          )}
        </div>
        <Foot />
      </nav>
    </div>
  );
}

const hide = () => drawer.set(false);

function NewLink() {
  const go = follow(null);
  return (
    <a
      className="new"
      href="/"
      onClick={(event) => {
        go(event);
        hide();
      }}
    >
      <PlusIcon /> New conversation
    </a>
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
