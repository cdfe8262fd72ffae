/** Beside the conversation, or over it where there is no room. */
import { lazy } from "react";
import { Later } from "./Boundary";
import { useDrawer } from "./drawer";
import { Skeletons } from "./Endless";
import { IconButton } from "./IconButton";
import { CloseIcon } from "./icons";
import { showTasks } from "./panels";

const TaskPanel = lazy(() => import("./TaskPanel"));

export function TaskDrawer({ over, inert }: { over: boolean; inert: boolean }) {
  const dialog = useDrawer(over, "Tasks", () => showTasks(false));
  return (
    <div className="tasks" inert={inert} {...dialog}>
      <aside aria-label="Tasks">
        <div className="tasks-top">
          <h2>Tasks</h2>
          <IconButton label="Close the tasks" onClick={() => showTasks(false)}>
            <CloseIcon />
          </IconButton>
        </div>
        <Later meanwhile={<Skeletons count={3} />}>
          <TaskPanel />
        </Later>
      </aside>
    </div>
  );
}
