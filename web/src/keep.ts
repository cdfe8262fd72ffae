/** What is kept in the browser: one person's, and gone when they sign out. Never fatal. */

const PREFIX = "parley:";

export interface Keep {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

/** The browser's own; it may be forbidden or full. */
function local(): Keep | null {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}

export function read<T>(key: string, otherwise: T, keep: Keep | null = local()): T {
  try {
    const found = keep?.getItem(PREFIX + key);
    return found == null ? otherwise : (JSON.parse(found) as T);
  } catch {
    return otherwise;
  }
}

export function write(key: string, value: unknown, keep: Keep | null = local()): void {
  try {
    if (value === null) keep?.removeItem(PREFIX + key);
    else keep?.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // It is a convenience: the page goes on without.
  }
}

let person = "";

/** Whose things are read and written from now on. */
export function keepFor(user: string): void {
  person = user;
}

export function ofPerson(name: string): string {
  return `of:${person}:${name}`;
}

/** Everything that was kept for the person. */
export function forgetPerson(): void {
  try {
    const prefix = PREFIX + ofPerson("");
    const keys = Object.keys(globalThis.localStorage).filter((key) => key.startsWith(prefix));
    for (const key of keys) globalThis.localStorage.removeItem(key);
  } catch {
    // As above.
  }
}
