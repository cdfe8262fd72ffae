/** A conversation that is open: its page, its stream and its outbox together. */

import "./browser";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { keepFor } from "../src/keep";
import { session } from "../src/session";
import { Room } from "../src/state/room";
import { json, network } from "./browser";
import { Api, message, turn } from "./service";

let api: Api;
let room: Room;
let close: () => void;

const settle = (ms = 20) => vi.advanceTimersByTimeAsync(ms);
const state = () => room.shown.get().state;
const contents = () => state().messages.map(({ content }) => content);
const pending = () => room.shown.get().pending.map(({ content }) => content);

beforeEach(() => {
  vi.useFakeTimers();
  keepFor("alice");
  session.set({ status: "signed-in", user: "alice", expiresAt: null, launcher: false });
  api = new Api();
  network(api.serve);
});
afterEach(async () => {
  close();
  room.close();
  await settle(6000);
  localStorage.clear();
  vi.useRealTimers();
});

async function open(): Promise<void> {
  room = new Room("c");
  close = room.open();
  await settle();
}

describe("a room", () => {
  it("shows the first page, then what the stream tells from there", async () => {
    api.messages = [message(1, "hello")];
    api.turns = [turn(2)];
    api.seq = 2;
    await open();
    expect(room.shown.get()).toMatchObject({ loaded: true, connection: "open", problem: null });
    expect(api.asked).toContain("GET /events?since=2");
    api.tell("2:2", "message.delta", {
      turn_id: "t",
      message_id: "m3",
      attempt: 1,
      offset: 0,
      text: "Hi",
    });
    await settle();
    expect(state().live?.text).toBe("Hi");
  });

  it("draws once for many words", async () => {
    api.seq = 2;
    await open();
    const drawn = vi.fn();
    room.shown.subscribe(drawn);
    for (let n = 0; n < 50; n++) {
      const text = String(n % 10);
      const delta = { turn_id: "t", message_id: "m3", attempt: 1, offset: n, text };
      api.tell(`2:${n + 1}`, "message.delta", delta);
    }
    await settle();
    expect(state().live?.length).toBe(50);
    expect(drawn.mock.calls.length).toBeLessThan(5);
  });

  it("comes again from the last change where text is missing, and shows what it has", async () => {
    api.seq = 2;
    await open();
    const delta = { turn_id: "t", message_id: "m3", attempt: 1 };
    api.tell("2:2", "message.delta", { ...delta, offset: 0, text: "ab" });
    api.tell("2:6", "message.delta", { ...delta, offset: 4, text: "ef" });
    await settle();
    expect(state().live?.text).toBe("ab");
    await settle(300);
    expect(api.asked.filter((one) => one === "GET /events?since=2").length).toBe(2);
    api.tell("2:6", "message.delta", { ...delta, offset: 0, text: "abcdef" });
    await settle();
    expect(state().live?.text).toBe("abcdef");
  });

  it("reads older pages, each once", async () => {
    api.messages = Array.from({ length: 120 }, (_, n) => message(n + 1, `m${n + 1}`));
    api.seq = 120;
    await open();
    expect(state().messages.length).toBe(50);
    await Promise.all([room.loadOlder(), room.loadOlder()]);
    await settle();
    expect(state().messages.length).toBe(100);
    expect(api.asked.filter((one) => one.includes("before=")).length).toBe(1);
    await room.loadOlder();
    await settle();
    expect(contents()).toEqual(api.messages.map(({ content }) => content));
    expect(state().hasOlder).toBe(false);
  });

  it("reads the first page anew where the cursor is none, keeping what it shows", async () => {
    api.messages = [message(1, "old")];
    api.seq = 9;
    api.refuse = (path) => {
      if (path !== "/events") return null;
      api.refuse = () => null;
      api.messages = [message(1, "restored")];
      api.seq = 3;
      return json(400, { status: 400, detail: "ahead", code: "cursor_ahead" });
    };
    await open();
    expect(room.shown.get().loaded).toBe(true);
    await settle(500);
    expect(contents()).toEqual(["restored"]);
    expect(api.asked.at(-1)).toBe("GET /events?since=3");
  });

  it("says why it can't be shown", async () => {
    api.refuse = () => json(404, { status: 404, detail: "Not there.", code: "not_found" });
    await open();
    expect(room.shown.get().problem?.status).toBe(404);
  });
});

describe("what is said", () => {
  it("is there at once, and once, by the answer and then the event", async () => {
    await open();
    let answer = () => {};
    api.holdPost = new Promise((done) => {
      answer = done;
    });
    room.send("hello");
    await settle();
    expect([pending(), contents()]).toEqual([["hello"], []]);
    answer();
    await settle();
    expect([pending(), contents()]).toEqual([[], ["hello"]]);
    expect(state().turns.t?.status).toBe("queued");
    api.tell("1", "message.created", { seq: 1, message: message(1, "hello") });
    await settle();
    expect([pending(), contents()]).toEqual([[], ["hello"]]);
  });

  it("is there once also where the event comes first", async () => {
    await open();
    let answer = () => {};
    api.holdPost = new Promise((done) => {
      answer = done;
    });
    room.send("hello");
    await settle();
    api.tell("1", "message.created", { seq: 1, message: message(1, "hello") });
    await settle();
    expect([pending(), contents()]).toEqual([[], ["hello"]]);
    answer();
    await settle();
    expect([pending(), contents()]).toEqual([[], ["hello"]]);
  });

  it("never shows both, nor neither, in any frame", async () => {
    await open();
    const frames: string[][] = [];
    room.shown.subscribe(() => frames.push([...contents(), ...pending()]));
    room.send("ok");
    room.send("ok");
    await settle(200);
    for (const frame of frames) expect(frame).toEqual(["ok", "ok"]);
    expect(frames.length).toBeGreaterThan(0);
    expect(api.posts.length).toBe(2);
  });

  it("is not taken for what was said before in the same words", async () => {
    await open();
    const post = api.serve;
    let held = 0;
    network((request) =>
      request.method === "POST" && held++ > 0 ? new Promise<Response>(() => {}) : post(request),
    );
    room.send("ok");
    room.send("ok");
    await settle();
    expect([pending(), contents()]).toEqual([["ok"], ["ok"]]);
  });

  it("goes out in the order it was said, over a network that comes and goes", async () => {
    await open();
    network();
    room.send("one");
    room.send("two");
    await settle(3000);
    expect(pending()).toEqual(["one", "two"]);
    network(api.serve);
    await settle(6000);
    expect(api.posts.map(({ content }) => content)).toEqual(["one", "two"]);
    expect(pending()).toEqual([]);
  });

  it("outlives the room", async () => {
    await open();
    network();
    room.send("hello");
    await settle();
    expect(room.isIdle).toBe(false);
    close();
    room.close();
    network(api.serve);
    await open();
    await settle(100);
    expect(api.posts.map(({ content }) => content)).toEqual(["hello"]);
  });
});
