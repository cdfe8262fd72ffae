import { useRoute } from "../router";
import { rowsOf, useConversations } from "../state/lists";
import { useStore } from "../store";
import { IconButton } from "./IconButton";
import { MenuIcon, MoreIcon, TasksIcon } from "./icons";
import { Menu } from "./Menu";
import { optionsOf } from "./options";
import { drawer, renaming, showTasks, tasksShown } from "./panels";
import { TitleInput } from "./TitleInput";

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
        aria-expanded={open}
        aria-controls="sidebar"
        onClick={() => drawer.set(true)}
      >
        <MenuIcon />
      </IconButton>
      {id === null ? <h1 className="title">New conversation</h1> : <Title id={id} />}
      <IconButton label="Tasks" aria-pressed={shown} onClick={() => showTasks(!shown)}>
        <TasksIcon />
      </IconButton>
    </header>
  );
}

function Title({ id }: { id: string }) {
  const { data } = useConversations();
  const title = rowsOf(data).find((row) => row.id === id)?.title ?? "Conversation";
  const writing = useStore(renaming) === PLACE + id;
  if (writing) return <TitleInput id={id} title={title} />;
  return (
    <>
      <h1 className="title">
        <button type="button" title="Rename" onClick={() => renaming.set(PLACE + id)}>
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
