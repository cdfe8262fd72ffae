/** The lists: conversations, search results, tasks. */
import { type InfiniteData, useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query";
import { call, client } from "../api";
import { queries } from "./client";
import { meet } from "./seen";
import type { Conversation, Event, Message, Task, Turn } from "./types";

type ConversationPage = { conversations: Conversation[]; next_cursor: string | null };
type Pages = InfiniteData<ConversationPage>;

const LIST = ["conversations"];
const TASKS = ["tasks"];
const PAGE = 30;
const BUSY_MS = 4000;
const QUIET_MS = 20_000;
const MOST_TASKS = 100;
/** Events come in bursts; the list is asked once for all of them. */
const BURST_MS = 200;
const PREVIEW_CHARS = 100;

const next = ({ next_cursor }: { next_cursor: string | null }): string | undefined =>
  next_cursor ?? undefined;

function query(cursor: string): { cursor?: string } {
  return cursor === "" ? {} : { cursor };
}

export function useConversations() {
  return useInfiniteQuery({
    queryKey: LIST,
    initialPageParam: "",
    queryFn: async ({ pageParam }) => {
      const params = { query: { limit: PAGE, ...query(pageParam) } };
      const page = await call(() => client.GET("/api/chat/conversations", { params }));
      meet(page.conversations);
      return page;
    },
    getNextPageParam: next,
    // A hidden page still waits for the answers it knows of: its title tells of them.
    refetchInterval: ({ state }) => (isBusy(state.data) ? BUSY_MS : !document.hidden && QUIET_MS),
    refetchIntervalInBackground: true,
  });
}

/** No stream tells of all conversations: while one runs the list is asked more often. */
function isBusy(data: Pages | undefined): boolean {
  return rowsOf(data).some(isBeingAnswered);
}

/** Not while it waits for a person's word: that may take days. */
export function isBeingAnswered({ active_turn }: Conversation): boolean {
  return active_turn !== null && active_turn.status !== "awaiting_approval";
}

export function rowsOf(data: Pages | undefined): Conversation[] {
  return data?.pages.flatMap((page) => page.conversations) ?? [];
}

export function useSearch(said: string) {
  return useInfiniteQuery({
    queryKey: ["search", said],
    enabled: said !== "",
    initialPageParam: "",
    // The server searches once at a time for each of us: what is typed over must not stand in line.
    queryFn: ({ pageParam, signal }) => {
      const params = { query: { q: said, ...query(pageParam) } };
      return call(() => client.GET("/api/chat/search", { params, signal }));
    },
    getNextPageParam: next,
  });
}

export function useTasks() {
  return useQuery({
    queryKey: TASKS,
    queryFn: async (): Promise<Task[]> => {
      const params = { query: { limit: MOST_TASKS } };
      return (await call(() => client.GET("/api/tasks", { params }))).tasks;
    },
    refetchInterval: QUIET_MS,
  });
}

export function tasksChanged(): void {
  void queries.invalidateQueries({ queryKey: TASKS });
}

let due: ReturnType<typeof setTimeout> | undefined;

export function conversationsChanged(): void {
  if (due !== undefined) return;
  due = setTimeout(() => {
    due = undefined;
    void queries.invalidateQueries({ queryKey: LIST });
  }, BURST_MS);
}

/** What is known of the listed conversation, without asking. */
export function listed(id: string): Conversation | undefined {
  return rowsOf(queries.getQueryData<Pages>(LIST)).find((row) => row.id === id);
}

/** What an event of the open conversation says of its row, which is older than the event. */
export function heardInList(id: string, event: Event, active_turn: Turn | null): void {
  if (!("seq" in event)) return;
  const row = listed(id);
  if (row !== undefined && event.seq > row.seq) {
    const heard = { ...rowAfter(row, event), seq: event.seq, active_turn };
    meet([heard]);
    editRows((rows) => rows.map((one) => (one.id === id ? heard : one)));
    if (heard.updated_at > row.updated_at) lift(id);
  }
  if (event.event === "turn.updated") conversationsChanged();
}

export function rowAfter(row: Conversation, event: Event): Conversation {
  switch (event.event) {
    case "conversation.updated":
      return event.conversation;
    case "message.created":
      return event.message.seq > row.seq ? afterMessage(row, event.message) : row;
    case "message.updated": {
      const gone = event.message.status === "withdrawn" ? 1 : 0;
      return { ...row, message_count: row.message_count - gone };
    }
    default:
      return row;
  }
}

function afterMessage(row: Conversation, { role, content, created_at }: Message): Conversation {
  const said = content
    .slice(0, PREVIEW_CHARS * 4)
    .replace(/\s+/g, " ")
    .trim();
  const shown = role === "tool" || said === "" ? row.last_message_preview : said;
  return {
    ...row,
    message_count: row.message_count + 1,
    updated_at: created_at,
    last_message_preview: Array.from(shown).slice(0, PREVIEW_CHARS).join(""),
  };
}

/** The list is in the order of what was said last. */
function lift(id: string): void {
  queries.setQueryData<Pages>(LIST, (data) => {
    const row = rowsOf(data).find((one) => one.id === id);
    if (data === undefined || row === undefined) return data;
    const pages = data.pages.map((page, place) => {
      const others = page.conversations.filter((one) => one.id !== id);
      return { ...page, conversations: place === 0 ? [row, ...others] : others };
    });
    return { ...data, pages };
  });
}

function editRows(edit: (rows: Conversation[]) => Conversation[]): void {
  queries.setQueryData<Pages>(LIST, (data) =>
    data === undefined
      ? data
      : {
          ...data,
          pages: data.pages.map((page) => ({ ...page, conversations: edit(page.conversations) })),
        },
  );
}

/** Shown at once, taken back if it is refused. */
async function optimistic(edit: (rows: Conversation[]) => Conversation[]) {
  await queries.cancelQueries({ queryKey: LIST });
  const before = queries.getQueryData<Pages>(LIST);
  editRows(edit);
  return { before };
}

function takeBack(context: { before: Pages | undefined } | undefined): void {
  if (context !== undefined) queries.setQueryData(LIST, context.before);
}

export function useRename() {
  return useMutation({
    mutationFn: ({ id, title }: { id: string; title: string }) => {
      const params = { path: { conversation_id: id } };
      return call(() =>
        client.PUT("/api/chat/conversations/{conversation_id}", { params, body: { title } }),
      );
    },
    onMutate: ({ id, title }) =>
      optimistic((rows) => rows.map((row) => (row.id === id ? { ...row, title } : row))),
    onError: (_, __, context) => takeBack(context),
    onSettled: conversationsChanged,
  });
}

export function useRemove() {
  return useMutation({
    mutationFn: (id: string) => {
      const params = { path: { conversation_id: id } };
      return call(() => client.DELETE("/api/chat/conversations/{conversation_id}", { params }));
    },
    onMutate: (id) => optimistic((rows) => rows.filter((row) => row.id !== id)),
    onError: (_, __, context) => takeBack(context),
    onSettled: conversationsChanged,
  });
}
