import { useSession } from "../session";
import { useStore } from "../store";
import { toast } from "../toast";
import { IconButton } from "./IconButton";
import { asked, choose, type Theme, theme } from "./panels";

const THEMES: Record<Theme, string> = { system: "System", light: "Light", dark: "Dark" };

/** Who is signed in, how the page looks, and the way out. */
export function Foot() {
  const { user, signOut } = useSession();
  const look = useStore(theme);
  return (
    <div className="sidebar-foot">
      <span className="who" title={user ?? ""}>
        {user}
      </span>
      <label className="theme">
        <span className="visually-hidden">Colours</span>
        <select
          title="Colours"
          value={look}
          onChange={(event) => choose(event.currentTarget.value as Theme)}
        >
          {Object.entries(THEMES).map(([value, words]) => (
            <option key={value} value={value}>
              {words}
            </option>
          ))}
        </select>
      </label>
      <IconButton label="Keyboard shortcuts" onClick={() => asked.set({ what: "help" })}>
        <span aria-hidden="true">?</span>
      </IconButton>
      <button type="button" className="secondary" onClick={() => signOut().catch(toast)}>
        Sign out
      </button>
    </div>
  );
}
