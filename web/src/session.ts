/** Who is signed in. The cookie is the browser's; a token is typed once and kept nowhere. */
import { ask, client, isUnauthorized, NetworkError, whenUnauthorized } from "./api";
import { forgetPerson, keepFor, read, write } from "./keep";
import { Store, useStore } from "./store";

export interface Session {
  status: "loading" | "signed-out" | "signed-in" | "expired";
  user: string | null;
  expiresAt: string | null;
  /** Signing in without a token works here: the page came from `parley up`. */
  launcher: boolean;
}

type Found = { user_id: string; expires_at: string | null };

const NOBODY: Session = { status: "signed-out", user: null, expiresAt: null, launcher: false };
const SIGNED_OUT = "signed-out";
const LAUNCHER = "launcher";
const RETRY_MS = 1000;
/** Requests that were on their way when the session was renewed are refused a little later. */
const FRESH_MS = 10_000;

const store = new Store<Session>({ ...NOBODY, status: "loading" });
const renewals = new Set<() => void>();
const channel = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("parley");

export function useSession(): Session & typeof actions {
  return { ...useStore(store), ...actions };
}

export const session = store;

/** Called whenever somebody has signed in again: streams and the outbox go on. */
export function onRenewal(listener: () => void): () => void {
  renewals.add(listener);
  return () => renewals.delete(listener);
}

export const actions = { signIn, signInHere, signOut };

async function signIn(token: string): Promise<void> {
  // What is pasted brings blanks along, and what no header can carry.
  const headers = { Authorization: `Bearer ${token.replace(/[^\x21-\x7e]/g, "")}` };
  entered(await ask(() => client.POST("/api/session", { headers })), false);
}

async function signInHere(): Promise<void> {
  entered(await ask(() => client.POST("/api/session/launcher")), true);
}

async function signOut(): Promise<void> {
  try {
    await ask(() => client.DELETE("/api/session"));
  } catch (error) {
    if (!isUnauthorized(error)) throw error;
  }
  write(SIGNED_OUT, true);
  depart();
  channel?.postMessage("changed");
}

/** Whoever listens stops what goes on for the person; then nothing of theirs is left. */
function depart(): void {
  store.set({ ...NOBODY, launcher: read(LAUNCHER, false) });
  forgetPerson();
  keepFor("");
}

function entered(found: Found, launcher: boolean): void {
  write(SIGNED_OUT, null);
  write(LAUNCHER, launcher || null);
  adopt(found, launcher);
  channel?.postMessage("changed");
}

function adopt(found: Found, launcher: boolean): void {
  const before = store.get();
  // Nothing that one person saw or said may be shown to another, or sent in their name.
  if (before.user !== null && before.user !== found.user_id) {
    location.reload();
    return;
  }
  keepFor(found.user_id);
  store.set({ status: "signed-in", user: found.user_id, expiresAt: found.expires_at, launcher });
  if (before.status === "expired") for (const listener of [...renewals]) listener();
}

/** At the start, and when another tab signed in or out. */
export async function lookUp(): Promise<void> {
  try {
    adopt(await ask(() => client.GET("/api/session")), read(LAUNCHER, false));
  } catch (error) {
    if (isUnauthorized(error)) await enterUnasked();
    else setTimeout(lookUp, RETRY_MS);
  }
}

/** Under `parley up` nobody types a token, unless they have signed out on purpose. */
async function enterUnasked(): Promise<void> {
  if (read(SIGNED_OUT, false)) return leave();
  try {
    await signInHere();
  } catch (error) {
    if (error instanceof NetworkError) setTimeout(lookUp, RETRY_MS);
    else leave();
  }
}

/** The page stays as it is behind a dialog; unless the person has gone, in another tab. */
function leave(): void {
  const { status } = store.get();
  if (status === "loading") store.set({ ...NOBODY, launcher: read(LAUNCHER, false) });
  else if (status !== "signed-out" && read(SIGNED_OUT, false)) depart();
  else if (status === "signed-in") store.set({ ...store.get(), status: "expired" });
}

let renewing: Promise<boolean> | null = null;

/** One attempt for however many requests were refused at once. */
export function renew(): Promise<boolean> {
  renewing ??= attempt().finally(() => {
    renewing = null;
  });
  return renewing;
}

let renewedAt = Number.NEGATIVE_INFINITY;

async function attempt(): Promise<boolean> {
  if (store.get().status !== "signed-in") return false;
  if (Date.now() - renewedAt < FRESH_MS) return true;
  try {
    await reenter();
    renewedAt = Date.now();
    return true;
  } catch {
    leave();
    return false;
  }
}

/** Another tab may have signed in meanwhile; else the way that was taken before. */
async function reenter(): Promise<void> {
  const { launcher } = store.get();
  try {
    adopt(await ask(() => client.GET("/api/session")), launcher);
  } catch (error) {
    if (!launcher || read(SIGNED_OUT, false)) throw error;
    await signInHere();
  }
}

export function start(): void {
  whenUnauthorized(renew);
  channel?.addEventListener("message", () => void lookUp());
  void lookUp();
}
