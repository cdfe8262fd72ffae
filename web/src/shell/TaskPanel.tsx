import { useTasks } from "../state/lists";
import type { Task } from "../state/types";
import { Skeletons } from "./Endless";
import { IconButton } from "./IconButton";
import { CheckIcon, CloseIcon } from "./icons";
import { showTasks } from "./panels";

/** The to-do list that the agent works on, as it changes. */
export default function TaskPanel() {
  const { data, error } = useTasks();
  const open = data?.filter(({ status }) => status === "open") ?? [];
  const done = data?.filter(({ status }) => status === "completed") ?? [];
  return (
    <aside className="tasks" aria-label="Tasks">
      <div className="tasks-top">
        <h2>Tasks</h2>
        <IconButton label="Close the tasks" onClick={() => showTasks(false)}>
          <CloseIcon />
        </IconButton>
      </div>
      {data === undefined && error === null && <Skeletons count={3} />}
      {data === undefined && error !== null && <p className="list-note">{error.message}</p>}
      {data?.length === 0 && (
        <p className="list-note">
          No tasks yet. Ask for one: “Create a task called Review Q4 report”.
        </p>
      )}
      <ul className="task-list">
        {[...open, ...done].map((task) => (
          <TaskRow key={task.id} task={task} />
        ))}
      </ul>
    </aside>
  );
}

function TaskRow({ task: { title, description, status } }: { task: Task }) {
  const done = status === "completed";
  return (
    <li className={done ? "task done" : "task"}>
      <span className="task-box">{done && <CheckIcon />}</span>
      <span className="task-words">
        <span className="task-title">{title}</span>
        {done && <span className="visually-hidden"> (done)</span>}
        {description !== "" && <small>{description}</small>}
      </span>
    </li>
  );
}
