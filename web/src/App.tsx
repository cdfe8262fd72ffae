import { lazy, useEffect, useState } from "react";
import { ConversationPane } from "./conversation/ConversationPane";
import { useRoute } from "./router";
import { useSession } from "./session";
import { Later } from "./shell/Boundary";
import { Dialog } from "./shell/Dialog";
import { NARROW, NO_ROOM_FOR_TASKS, useMedia } from "./shell/drawer";
import { Skeletons } from "./shell/Endless";
import { Header } from "./shell/Header";
import { useKeys } from "./shell/keys";
import { asked, drawer, showTasks, tasksShown } from "./shell/panels";
import { Sidebar } from "./shell/Sidebar";
import { SignIn, SignInPage } from "./shell/SignIn";
import { TaskDrawer } from "./shell/TaskDrawer";
import { useStore } from "./store";
import { Toasts, toast } from "./toast";

const Dialogs = lazy(() => import("./shell/Dialogs"));
const PATIENCE_MS = 4000;

export function App() {
  const { status } = useSession();
  switch (status) {
    case "loading":
      return <Starting />;
    case "signed-out":
      return <SignInPage />;
    case "signed-in":
      return <SignedIn expired={false} />;
    case "expired":
      return <SignedIn expired />;
    default:
      return status satisfies never;
  }
}

function Starting() {
  const [long, setLong] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLong(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <main className="starting" aria-busy="true" aria-label="Parley is starting">
      <Skeletons count={4} />
      <p className="quiet starting-words" role="status">
        {long && "The service doesn't answer yet. The page goes on asking."}
      </p>
    </main>
  );
}

function SignedIn({ expired }: { expired: boolean }) {
  useKeys();
  const id = useRoute();
  const tasks = useStore(tasksShown);
  const open = useStore(drawer);
  const narrow = useMedia(NARROW);
  const noRoom = useMedia(NO_ROOM_FOR_TASKS);
  const listOver = open && narrow;
  const tasksOver = tasks && noRoom;
  const over = listOver || tasksOver;
  return (
    <div className={tasks ? "app with-tasks" : "app"}>
      <a className="skip" href="#conversation" inert={over}>
        Skip to the conversation
      </a>
      <Sidebar over={listOver} inert={tasksOver && !listOver} />
      {over && <Shade close={() => (listOver ? drawer.set(false) : showTasks(false))} />}
      <div className="middle" inert={over}>
        <Header />
        <main id="conversation" className="pane" tabIndex={-1}>
          <ConversationPane key={id ?? "new"} id={id} />
        </main>
      </div>
      {tasks && <TaskDrawer over={tasksOver} inert={listOver} />}
      <Asked />
      {expired && <Expired />}
      <Toasts />
    </div>
  );
}

function Shade({ close }: { close: () => void }) {
  return <div className="shade" aria-hidden="true" onClick={close} />;
}

function Asked() {
  if (useStore(asked) === null) return null;
  const failed = () => {
    asked.set(null);
    toast("That could not be loaded. Reload the page to go on.");
  };
  return (
    <Later otherwise={null} onError={failed}>
      <Dialogs />
    </Later>
  );
}

function Expired() {
  return (
    <Dialog title="Your session has ended" firm onClose={() => {}}>
      <p>Sign in again: everything goes on where it was.</p>
      <SignIn />
    </Dialog>
  );
}
