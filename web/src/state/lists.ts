/** The lists: conversations, search results, tasks. */
import { type InfiniteData, useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query";
import { call, client } from "../api";
import { queries } from "./client";
import { meet } from "./seen";
import type { Conversation, Task } from "./types";

type ConversationPage = { conversations: Conversation[]; next_cursor: string | null };
type Pages = InfiniteData<ConversationPage>;

const LIST = ["conversations"];
const TASKS = ["tasks"];
const PAGE = 30;
const BUSY_MS = 3000;
const QUIET_MS = 20_000;
const MOST_TASKS = 100;

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
    refetchInterval: ({ state }) => (isBusy(state.data) ? BUSY_MS : QUIET_MS),
  });
}

/** No stream tells of all conversations: while one runs the list is asked more often. */
function isBusy(data: Pages | undefined): boolean {
  return rowsOf(data).some(({ active_turn }) => active_turn !== null);
}

export function rowsOf(data: Pages | undefined): Conversation[] {
  return data?.pages.flatMap((page) => page.conversations) ?? [];
}

export function useSearch(said: string) {
  return useInfiniteQuery({
    queryKey: ["search", said],
    enabled: said !== "",
    initialPageParam: "",
    queryFn: ({ pageParam }) => {
      const params = { query: { q: said, ...query(pageParam) } };
      return call(() => client.GET("/api/chat/search", { params }));
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

export function conversationsChanged(): void {
  void queries.invalidateQueries({ queryKey: LIST });
}

/** What an event or an answer said of a conversation, without asking for the list. */
export function putConversation(
  id: string,
  change: (row: Conversation) => Partial<Conversation>,
): void {
  editRows((rows) => rows.map((row) => (row.id === id ? { ...row, ...change(row) } : row)));
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
