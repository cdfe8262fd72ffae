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

function OpenTitle({ id }: { id: string }) {
  const title = rowsOf(useConversations().data).find((row) => row.id === id)?.title;
  return title === undefined ? <UnlistedTitle id={id} /> : <Title id={id} title={title} />;
}

/** The list hasn't got that far, or it isn't there at all. */
function UnlistedTitle({ id }: { id: string }) {
  const { state, problem } = useConversation(id);
  const title = state.conversation?.title;
  if (title === undefined || state.deleted || problem !== null) return <NoTitle />;
  return <Title id={id} title={title} />;
}

function NoTitle() {
  usePageTitle(null);
  return (
    <h1 className="title">
      <span className="visually-hidden">Conversation</span>
    </h1>
  );
}

function Title({ id, title }: { id: string; title: string }) {
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
}
