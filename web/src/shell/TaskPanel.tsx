import { useTasks } from "../state/lists";
import type { Task } from "../state/types";
import { Skeletons } from "./Endless";
import { CheckIcon } from "./icons";
import { useMinute } from "./minute";
import { Trouble } from "./Trouble";
import { ago, full } from "./time";

/** The to-do list that the agent works on, as it changes. */
export default function TaskPanel() {
  const { data, error, refetch } = useTasks();
  const now = useMinute();
  if (data === undefined) {
    if (error === null) return <Skeletons count={3} />;
    return <Trouble error={error} again={refetch} />;
  }
  if (data.length === 0) {
    return (
      <p className="list-note">
        No tasks yet. Ask for one: “Create a task called Review Q4 report”.
      </p>
    );
  }
  const open = data.filter(({ status }) => status === "open");
  const done = data.filter(({ status }) => status === "completed");
  return (
    <>
      <ul className="task-list">
        {[...open, ...done].map((task) => (
          <TaskRow key={task.id} task={task} now={now} />
        ))}
      </ul>
      <p className="list-note">The assistant keeps this list: ask it to change something.</p>
    </>
  );
}

function TaskRow({ task, now }: { task: Task; now: number }) {
  const { title, description, status, completed_at } = task;
  const done = status === "completed";
  return (
    <li className={done ? "task done" : "task"}>
      <span className="task-mark">{done && <CheckIcon />}</span>
      <span className="task-words">
        <span className="task-title">{title}</span>
        {description !== "" && <small>{description}</small>}
        {done && (
          <small className="task-done">
            Done{" "}
            {completed_at !== null && (
              <time dateTime={completed_at} title={full(completed_at)}>
                {ago(completed_at, now)}
              </time>
            )}
          </small>
        )}
      </span>
    </li>
  );
}
