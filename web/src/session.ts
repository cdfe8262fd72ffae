/** Who is signed in. The cookie is the browser's; a token is typed once and kept nowhere. */
import { call, client, NetworkError, ProblemError, whenUnauthorized } from "./api";
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

const actions = { signIn, signInHere, signOut };

async function signIn(token: string): Promise<void> {
  const headers = { Authorization: `Bearer ${token.trim()}` };
  // Not by `call`: a refusal here says nothing of the session there may be.
  const answer = await request(() => client.POST("/api/session", { headers }));
  entered(answer, false);
}

async function signInHere(): Promise<void> {
  entered(await request(() => client.POST("/api/session/launcher")), true);
}

async function signOut(): Promise<void> {
  const { launcher } = store.get();
  await call(() => client.DELETE("/api/session"));
  forgetPerson();
  write(SIGNED_OUT, true);
  store.set({ ...NOBODY, launcher });
  channel?.postMessage("changed");
}

async function request(
  send: () => Promise<{ data?: Found; error?: unknown; response: Response }>,
): Promise<Found> {
  let answer: Awaited<ReturnType<typeof send>>;
  try {
    answer = await send();
  } catch {
    throw new NetworkError();
  }
  if (answer.data !== undefined) return answer.data;
  throw new ProblemError(answer.error as never);
}

function entered(found: Found, launcher: boolean): void {
  write(SIGNED_OUT, null);
  write(LAUNCHER, launcher || null);
  adopt(found, launcher);
  channel?.postMessage("changed");
}

function adopt(found: Found, launcher: boolean): void {
  const before = store.get();
  keepFor(found.user_id);
  store.set({ status: "signed-in", user: found.user_id, expiresAt: found.expires_at, launcher });
  // Nothing that one person saw may be shown to another.
  if (before.user !== null && before.user !== found.user_id) location.reload();
  if (before.status === "expired") for (const listener of [...renewals]) listener();
}

/** At the start, and when another tab signed in or out. */
export async function lookUp(): Promise<void> {
  try {
    adopt(await request(() => client.GET("/api/session")), read(LAUNCHER, false));
  } catch (error) {
    if (error instanceof ProblemError && error.problem.status === 401) await enterUnasked();
    else setTimeout(lookUp, RETRY_MS);
  }
}

/** Under `parley up` nobody types a token, unless they have signed out on purpose. */
async function enterUnasked(): Promise<void> {
  const launcher = read(LAUNCHER, false);
  if (read(SIGNED_OUT, false)) return leave(launcher);
  try {
    await signInHere();
  } catch {
    leave(launcher);
  }
}

function leave(launcher: boolean): void {
  const { status, user } = store.get();
  if (status === "signed-in" && user !== null) store.set({ ...store.get(), status: "expired" });
  else if (status !== "expired") store.set({ ...NOBODY, launcher });
}

let renewing: Promise<boolean> | null = null;

/** One attempt for however many requests were refused at once. */
export function renew(): Promise<boolean> {
  renewing ??= attempt().finally(() => {
    renewing = null;
  });
  return renewing;
}

async function attempt(): Promise<boolean> {
  if (store.get().status !== "signed-in") return false;
  if (store.get().launcher && !read(SIGNED_OUT, false)) {
    try {
      await signInHere();
      return true;
    } catch {
      // Then by hand.
    }
  }
  leave(store.get().launcher);
  return false;
}

export function start(): void {
  whenUnauthorized(renew);
  channel?.addEventListener("message", () => void lookUp());
  void lookUp();
}
