import { memo } from "react";
import { useRoute } from "../router";
import { rowsOf, useConversations } from "../state/lists";
import { useConversation } from "../state/useConversation";
import { useStore } from "../store";
import { IconButton } from "./IconButton";
import { MenuIcon, MoreIcon, TasksIcon } from "./icons";
import { Menu } from "./Menu";
import { optionsOf } from "./options";
import { usePageTitle } from "./pageTitle";
import { drawer, renaming, showTasks, tasksShown } from "./panels";
import { TitleInput, useFocusBack } from "./TitleInput";

const PLACE = "header:";

export function Header() {
  const id = useRoute();
  const shown = useStore(tasksShown);
  const open = useStore(drawer);
  return (
    <header className="header">
      <IconButton
        label="Show the list of conversations"
        className="only-narrow"
        aria-haspopup="dialog"
        aria-expanded={open}
        aria-controls="sidebar"
        onClick={() => drawer.set(true)}
      >
        <MenuIcon />
      </IconButton>
      {id === null ? <NewTitle /> : <OpenTitle key={id} id={id} />}
      <IconButton label="Tasks" aria-pressed={shown} onClick={() => showTasks(!shown)}>
        <TasksIcon />
      </IconButton>
    </header>
  );
}

function NewTitle() {
  usePageTitle(null);
  return <h1 className="title">New conversation</h1>;
}

/** One place for both: a title that is being written must stay when the list comes to know it. */
function OpenTitle({ id }: { id: string }) {
  const listed = rowsOf(useConversations().data).find((row) => row.id === id)?.title;
  const { state, problem } = useConversation(id);
  const isGone = state.deleted || problem !== null;
  const title = listed ?? (isGone ? undefined : state.conversation?.title);
  return title === undefined ? <NoTitle /> : <Title id={id} title={title} />;
}

function NoTitle() {
  usePageTitle(null);
  return (
    <h1 className="title">
      <span className="visually-hidden">Conversation</span>
    </h1>
  );
}

const Title = memo(function Title({ id, title }: { id: string; title: string }) {
  usePageTitle(title);
  const writing = useStore(renaming) === PLACE + id;
  const button = useFocusBack<HTMLButtonElement>(writing);
  if (writing) return <TitleInput id={id} title={title} />;
  return (
    <>
      <h1 className="title">
        <button ref={button} type="button" title="Rename" onClick={() => renaming.set(PLACE + id)}>
          {title}
        </button>
      </h1>
      <Menu
        label="Options of this conversation"
        icon={<MoreIcon />}
        choices={optionsOf(id, title, PLACE)}
      />
    </>
  );
});
