/** The API as the page speaks to it: answers, or errors that say what is wrong. */
import createClient from "openapi-fetch";
import type { paths } from "./generated/wire";
import type { Problem } from "./state/types";

/** The server refused, in its own words. */
export class ProblemError extends Error {
  readonly problem: Problem;
  /** Seconds, where the server named some. */
  readonly retryAfter: number | null;

  constructor(problem: Problem, retryAfter: number | null = null) {
    super(problem.detail);
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

/** Nobody answered: whether the request arrived is not known. */
export class NetworkError extends Error {
  constructor() {
    super("The service can't be reached.");
  }
}

/** Nobody is signed in (any more): not the request's fault, and not its end. */
export function isUnauthorized(error: unknown): boolean {
  return error instanceof ProblemError && error.problem.status === 401;
}

/** Worth another try of the very same request. */
export function isPassing(error: unknown): boolean {
  if (error instanceof NetworkError) return true;
  return (
    error instanceof ProblemError && (error.problem.status >= 500 || error.problem.status === 429)
  );
}

export const client = createClient<paths>({ credentials: "same-origin" });

type Answer<T> = { data?: T; error?: unknown; response: Response };

/** Told of every 401; true if a new session was made and the request is worth repeating. */
let onUnauthorized: () => Promise<boolean> = async () => false;

export function whenUnauthorized(ask: () => Promise<boolean>): void {
  onUnauthorized = ask;
}

/** Sends it; the session is not told. Throws ProblemError or NetworkError. */
export async function ask<T>(send: () => Promise<Answer<T>>): Promise<T> {
  return unwrap(await sent(send));
}

/** Sends it, once more after a renewed session. Throws ProblemError or NetworkError. */
export async function call<T>(send: () => Promise<Answer<T>>): Promise<T> {
  const answer = await sent(send);
  if (answer.response.status === 401 && (await onUnauthorized())) return unwrap(await sent(send));
  return unwrap(answer);
}

async function sent<T>(send: () => Promise<Answer<T>>): Promise<Answer<T>> {
  try {
    return await send();
  } catch {
    throw new NetworkError();
  }
}

function unwrap<T>({ data, error, response }: Answer<T>): T {
  if (response.ok) return data as T;
  throw new ProblemError(problemOf(error, response), retryAfterOf(response));
}

/** In seconds, at most a minute: whoever asked for longer is asked again then. */
export function retryAfterOf(response: Response): number | null {
  const given = Number(response.headers.get("retry-after") ?? Number.NaN);
  return Number.isFinite(given) ? Math.min(given, 60) : null;
}

/** A proxy may answer in our place with something that is no problem of ours. */
function problemOf(error: unknown, { status }: Response): Problem {
  if (typeof error === "object" && error !== null && "detail" in error) return error as Problem;
  const detail = `The service answered ${status}.`;
  return { type: "about:blank", title: detail, status, detail, code: "unknown" };
}
