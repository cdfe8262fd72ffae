import { lazy, Suspense } from "react";
import { ConversationPane } from "./conversation/ConversationPane";
import { useRoute } from "./router";
import { useSession } from "./session";
import { Dialog } from "./shell/Dialog";
import { Skeletons } from "./shell/Endless";
import { Header } from "./shell/Header";
import { useKeys } from "./shell/keys";
import { asked, drawer, tasksShown } from "./shell/panels";
import { Sidebar } from "./shell/Sidebar";
import { SignIn, SignInPage } from "./shell/SignIn";
import { useStore } from "./store";
import { Toasts } from "./toast";

const TaskPanel = lazy(() => import("./shell/TaskPanel"));
const Dialogs = lazy(() => import("./shell/Dialogs"));

export function App() {
  const { status } = useSession();
  switch (status) {
    case "loading":
      return (
        <main className="starting" aria-busy="true" aria-label="Parley is starting">
          <Skeletons count={4} />
        </main>
      );
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

function SignedIn({ expired }: { expired: boolean }) {
  useKeys();
  const id = useRoute();
  const tasks = useStore(tasksShown);
  const dialog = useStore(asked);
  const open = useStore(drawer);
  return (
    <div className={tasks ? "app with-tasks" : "app"}>
      <a className="skip" href="#composer">
        Skip to the conversation
      </a>
      <Sidebar />
      {open && <div className="shade" aria-hidden="true" onClick={() => drawer.set(false)} />}
      <div className="middle">
        <Header />
        <main className="pane">
          <ConversationPane key={id ?? "new"} id={id} />
        </main>
      </div>
      <Suspense fallback={null}>
        {tasks && <TaskPanel />}
        {dialog !== null && <Dialogs />}
      </Suspense>
      {expired && (
        <Dialog title="Your session has ended" firm onClose={() => {}}>
          <p>Sign in again: everything goes on where it was.</p>
          <SignIn />
        </Dialog>
      )}
      <Toasts />
    </div>
  );
}
