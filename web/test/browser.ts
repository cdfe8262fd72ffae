/** As much of a browser as the state needs. */

class Memory implements Storage {
  [name: string]: unknown;
  getItem(key: string): string | null {
    const found = Object.getOwnPropertyDescriptor(this, key)?.value;
    return typeof found === "string" ? found : null;
  }
  setItem(key: string, value: string): void {
    this[key] = value;
  }
  removeItem(key: string): void {
    delete this[key];
  }
  clear(): void {
    for (const key of Object.keys(this)) delete this[key];
  }
  key(place: number): string | null {
    return Object.keys(this)[place] ?? null;
  }
  get length(): number {
    return Object.keys(this).length;
  }
}

const ORIGIN = "http://parley.test";
const NodeRequest = globalThis.Request;

/** In a page an address may be a path. */
class PageRequest extends NodeRequest {
  constructor(input: RequestInfo | URL, init?: RequestInit) {
    super(typeof input === "string" ? new URL(input, ORIGIN) : input, init);
  }
}

type Serve = (request: Request) => Response | Promise<Response>;
const unserved: Serve = () => {
  throw new TypeError("no network");
};
let serve = unserved;

/** What the network answers from now on; nothing without a word. */
export function network(answer: Serve = unserved): void {
  serve = answer;
}

export function json(status: number, body?: unknown): Response {
  return new Response(body === undefined ? null : JSON.stringify(body), { status });
}

const page = new EventTarget();
const view = Object.assign(new EventTarget(), { hidden: false });

const globals: Record<string, unknown> = {
  localStorage: new Memory(),
  document: view,
  location: { href: `${ORIGIN}/c/1`, reload: () => {} },
  Request: PageRequest,
  fetch: async (input: RequestInfo | URL, init?: RequestInit) =>
    serve(input instanceof NodeRequest ? input : new PageRequest(input, init)),
  addEventListener: page.addEventListener.bind(page),
  removeEventListener: page.removeEventListener.bind(page),
  requestAnimationFrame: (draw: () => void) => setTimeout(draw, 0),
  BroadcastChannel: undefined,
};

for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

export function setOnline(onLine: boolean): void {
  Object.defineProperty(globalThis, "navigator", { value: { onLine }, configurable: true });
  page.dispatchEvent(new Event(onLine ? "online" : "offline"));
}

export function setHidden(hidden: boolean): void {
  view.hidden = hidden;
  view.dispatchEvent(new Event("visibilitychange"));
}

Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true });
