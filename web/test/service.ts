/** One conversation and its API, as far as a page that shows it can tell. */
import type { Message, Turn } from "../src/state/types";
import { json } from "./browser";

const AT = "2026-03-02T09:30:00Z";

export function message(seq: number, content: string, more: Partial<Message> = {}): Message {
  return {
    id: `m${seq}`,
    conversation_id: "c",
    turn_id: "t",
    seq,
    role: "user",
    content,
    status: "completed",
    tool_calls: null,
    tool_call_id: null,
    metadata: {},
    created_at: AT,
    ...more,
  };
}

export function turn(seq: number, more: Partial<Turn> = {}): Turn {
  const times = { created_at: AT, started_at: null, first_token_at: null, finished_at: null };
  const rest = { position: null, error: null, model: null, usage: null, ...times };
  const ids = { id: "t", conversation_id: "c", user_message_id: "m1" };
  return { ...ids, status: "running", attempt: 1, seq, ...rest, ...more };
}

/** One conversation, as its API shows it. */
export class Api {
  messages: Message[] = [];
  turns: Turn[] = [];
  seq = 0;
  posts: { key: string | null; content: string }[] = [];
  asked: string[] = [];
  refuse: (path: string) => Response | null = () => null;
  holdPost: Promise<void> = Promise.resolve();
  #out: ReadableStreamDefaultController<Uint8Array> | null = null;

  readonly serve = async (request: Request): Promise<Response> => {
    const { pathname, search } = new URL(request.url);
    const path = pathname.replace("/api/chat/conversations/c", "");
    this.asked.push(`${request.method} ${path}${search}`);
    const refusal = this.refuse(path);
    if (refusal !== null) return refusal;
    if (request.method === "POST") return this.#post(request);
    if (path === "/events") return this.#stream();
    if (path === "/messages") return json(200, this.#page(new URL(request.url).searchParams));
    const counts = { message_count: this.messages.length, last_message_preview: "" };
    const times = { created_at: AT, updated_at: AT };
    return json(200, {
      id: "c",
      title: "T",
      seq: this.seq,
      active_turn: null,
      ...counts,
      ...times,
    });
  };

  #page(query: URLSearchParams) {
    const before = Number(query.get("before") ?? Number.POSITIVE_INFINITY);
    const found = this.messages.filter(({ seq }) => seq < before);
    const messages = found.slice(-Number(query.get("limit")));
    const has_more = messages.length < found.length;
    const total_count = this.messages.length;
    return { messages, turns: this.turns, total_count, next_since: this.seq, has_more };
  }

  async #post(request: Request): Promise<Response> {
    const { content } = await request.json();
    const key = request.headers.get("idempotency-key");
    const told = this.posts.findIndex((one) => one.key === key);
    this.posts.push({ key, content });
    const seq = told < 0 ? this.seq + 1 : told + 1;
    if (told < 0) this.seq += 2;
    await this.holdPost;
    const asked = message(seq, content);
    return json(202, { message: asked, turn: turn(seq + 1, { status: "queued" }), since: seq - 1 });
  }

  #stream(): Response {
    const start = (out: ReadableStreamDefaultController<Uint8Array>) => {
      this.#out = out;
    };
    const headers = { "content-type": "text/event-stream" };
    return new Response(new ReadableStream<Uint8Array>({ start }), { headers });
  }

  tell(id: string, event: string, data: object): void {
    const text = `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
    this.#out?.enqueue(new TextEncoder().encode(text));
  }
}
