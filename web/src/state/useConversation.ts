/** The open conversation, for the view; and how one begins. */
import { useEffect, useMemo } from "react";
import { call, client } from "../api";
import { session } from "../session";
import { useStore } from "../store";
import { conversationsChanged } from "./lists";
import { conversationsWithPending, newKey } from "./outbox";
import { Room } from "./room";
import type { ConversationView, Shown } from "./types";

const KEPT = 10;
const rooms = new Map<string, Room>();

/** Those opened last are kept, so that going back to one is instant; and all with work to do. */
function roomOf(id: string, isNew = false): Room {
  const room = rooms.get(id) ?? new Room(id, isNew);
  rooms.delete(id);
  rooms.set(id, room);
  for (const [oldest, { isIdle }] of rooms) {
    if (rooms.size <= KEPT) break;
    if (isIdle && oldest !== id) rooms.delete(oldest);
  }
  return room;
}

function sendPending(): void {
  for (const id of conversationsWithPending()) roomOf(id);
  for (const room of rooms.values()) room.sendPending();
}

function onSession(): void {
  const { status } = session.get();
  if (status === "signed-in") sendPending();
  if (status !== "signed-out") return;
  for (const room of rooms.values()) room.close();
  rooms.clear();
}

session.subscribe(onSession);
addEventListener("online", sendPending);
onSession();

export function useConversation(id: string): ConversationView {
  const room = useMemo(() => roomOf(id), [id]);
  useEffect(() => room.open(), [room]);
  const shown = useStore(room.shown);
  const deeds = useMemo(() => deedsOf(room), [room]);
  return useMemo(() => ({ ...shown, ...deeds }), [shown, deeds]);
}

/** The same functions as long as the room is the same. */
function deedsOf(room: Room): Omit<ConversationView, keyof Shown> {
  return {
    send: (content, onBusy) => room.send(content, onBusy),
    resend: room.resend,
    discard: room.discard,
    cancel: (turnId) => room.cancel(turnId),
    retry: (turnId) => room.retry(turnId),
    decide: (turnId, callId, decision, reason) => room.decide(turnId, callId, decision, reason),
    loadOlder: () => room.loadOlder(),
  };
}

/** Kept until it is answered, so that trying again begins no second one. */
let nextKey = newKey();

/** The id of a new conversation in whose outbox the message lies already. */
export async function startConversation(content: string): Promise<string> {
  const params = { header: { "Idempotency-Key": nextKey } };
  const { id } = await call(() => client.POST("/api/chat/conversations", { params, body: {} }));
  nextKey = newKey();
  roomOf(id, true).send(content);
  conversationsChanged();
  return id;
}
