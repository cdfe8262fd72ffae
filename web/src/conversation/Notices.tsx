import { useEffect, useState } from "react";
import type { Connection } from "../state/types";

const PATIENCE_MS = 1000;

/** Says only what is so: a connection that is back within a second was hardly lost. */
export function Notices({ connection }: { connection: Connection }) {
  const [late, setLate] = useState(false);
  const away = connection === "reconnecting";
  useEffect(() => {
    setLate(false);
    if (!away) return;
    const timer = setTimeout(() => setLate(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [away]);
  const words =
    connection === "offline"
      ? "You are offline. What you send is kept and goes out when you are back."
      : away && late
        ? "The connection was lost. Reconnecting…"
        : null;
  return (
    <div className="notice-place" role="status">
      {words !== null && <p className="notice">{words}</p>}
    </div>
  );
}
