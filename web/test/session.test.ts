import "./browser";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { json, network } from "./browser";

const ALICE = { user_id: "alice", expires_at: "2026-03-02T21:30:00Z" };
const REFUSED = {
  type: "",
  title: "No",
  status: 401,
  detail: "Who are you?",
  code: "unauthorized",
};

let asked: string[];
/** Whose cookie the browser holds, and whether the launcher opens. */
let cookie: string | null;
let launcher: boolean;

async function serve(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  asked.push(`${request.method} ${pathname}`);
  if (request.method === "DELETE") cookie = null;
  else if (pathname === "/api/session/launcher") {
    if (!launcher) return json(401, REFUSED);
    cookie = "alice";
    return json(201, ALICE);
  } else if (request.method === "POST") {
    const token = request.headers.get("authorization")?.replace("Bearer ", "") ?? "";
    if (!["alice", "bob"].includes(token)) return json(401, REFUSED);
    cookie = token;
    return json(201, { ...ALICE, user_id: token });
  }
  if (cookie === null) return request.method === "DELETE" ? json(204) : json(401, REFUSED);
  return json(200, { ...ALICE, user_id: cookie });
}

/** The page anew: a reload. */
async function load() {
  vi.resetModules();
  const api = await import("../src/api");
  const module = await import("../src/session");
  const keep = await import("../src/keep");
  module.start();
  await vi.advanceTimersByTimeAsync(0);
  return { ...module, ...api, ...keep };
}

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  cookie = null;
  launcher = false;
  network(serve);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  localStorage.clear();
});

describe("at the start", () => {
  it("a cookie is enough", async () => {
    cookie = "alice";
    const { session } = await load();
    expect(session.get()).toMatchObject({ status: "signed-in", user: "alice" });
    expect(asked).toEqual(["GET /api/session"]);
  });

  it("without one the launcher is tried once", async () => {
    const { session } = await load();
    expect(session.get().status).toBe("signed-out");
    expect(asked).toEqual(["GET /api/session", "POST /api/session/launcher"]);
    launcher = true;
    const again = await load();
    expect(again.session.get()).toMatchObject({ status: "signed-in", launcher: true });
  });

  it("whoever has signed out on purpose stays out, and may come in again", async () => {
    launcher = true;
    const { actions, write } = await load();
    write("of:alice:draft:c", "secret");
    await actions.signOut();
    expect(Object.keys(localStorage).filter((key) => key.includes("alice"))).toEqual([]);
    asked = [];
    const again = await load();
    expect(again.session.get()).toMatchObject({ status: "signed-out", launcher: true });
    expect(asked).toEqual(["GET /api/session"]);
    await again.actions.signInHere();
    expect((await load()).session.get().status).toBe("signed-in");
  });

  it("a server that can't be reached is asked until it can", async () => {
    network();
    const { session } = await load();
    expect(session.get().status).toBe("loading");
    cookie = "alice";
    network(serve);
    await vi.advanceTimersByTimeAsync(1500);
    expect(session.get().status).toBe("signed-in");
  });
});

describe("signing in", () => {
  it("takes a token, with what was pasted around it, and keeps it nowhere", async () => {
    const { session, actions } = await load();
    await actions.signIn(" alice\u200b\n");
    expect(session.get()).toMatchObject({ status: "signed-in", user: "alice", launcher: false });
    expect(JSON.stringify(Object.entries(localStorage))).not.toContain("alice");
  });

  it("says why not, also where a proxy answers", async () => {
    const { actions, session } = await load();
    await expect(actions.signIn("mallory")).rejects.toThrow("Who are you?");
    network(() => new Response("<h1>Bad gateway</h1>", { status: 502 }));
    await expect(actions.signIn("alice")).rejects.toThrow("502");
    network();
    await expect(actions.signIn("alice")).rejects.toThrow("can't be reached");
    expect(session.get().status).toBe("signed-out");
  });
});

describe("a session that ends", () => {
  async function ended(launched: boolean) {
    launcher = launched;
    const page = await load();
    if (!launched) await page.actions.signIn("alice");
    cookie = null;
    asked = [];
    const get = () => page.call(() => page.client.GET("/api/tasks"));
    return { ...page, get };
  }

  it("is renewed once for all requests, where the launcher opens", async () => {
    const { session, get } = await ended(true);
    await Promise.all([get(), get(), get()]);
    expect(asked.filter((one) => one.startsWith("POST"))).toEqual(["POST /api/session/launcher"]);
    expect(session.get().status).toBe("signed-in");
  });

  it("is expired otherwise; the person stays, and what waits goes on", async () => {
    const { session, get, actions, onRenewal } = await ended(false);
    const renewed = vi.fn();
    onRenewal(renewed);
    await expect(get()).rejects.toThrow("Who are you?");
    expect(session.get()).toMatchObject({ status: "expired", user: "alice" });
    expect(asked.some((one) => one.includes("launcher"))).toBe(false);
    await actions.signIn("alice");
    expect(session.get().status).toBe("signed-in");
    expect(renewed).toHaveBeenCalledTimes(1);
  });

  it("and another person who signs in gets a new page, and nothing goes on", async () => {
    const { session, get, actions, onRenewal } = await ended(false);
    const renewed = vi.fn();
    const reload = vi.spyOn(location, "reload");
    onRenewal(renewed);
    await expect(get()).rejects.toThrow();
    await actions.signIn("bob");
    expect(reload).toHaveBeenCalledTimes(1);
    expect(renewed).not.toHaveBeenCalled();
    expect(session.get()).toMatchObject({ status: "expired", user: "alice" });
  });

  it("that another tab has renewed is simply gone on with", async () => {
    const { session, get } = await ended(false);
    let refused = false;
    network((request) => {
      if (refused) return serve(request);
      refused = true;
      cookie = "alice";
      return json(401, REFUSED);
    });
    await get();
    expect(session.get().status).toBe("signed-in");
  });

  it("in another tab, on purpose, ends it here too, with all that was kept", async () => {
    const { session, write, lookUp } = await ended(true);
    write("of:alice:draft:c", "secret");
    write("signed-out", true);
    await lookUp();
    expect(session.get()).toMatchObject({ status: "signed-out", user: null });
    expect(Object.keys(localStorage).filter((key) => key.includes("alice"))).toEqual([]);
  });

  it("can be left", async () => {
    const { session, get, actions } = await ended(false);
    await expect(get()).rejects.toThrow();
    network((request) => (request.method === "DELETE" ? json(401, REFUSED) : serve(request)));
    await actions.signOut();
    expect(session.get().status).toBe("signed-out");
  });
});
