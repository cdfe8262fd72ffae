/** The lists' cache. A refusal is an answer: only what may pass is asked again. */
import { QueryClient } from "@tanstack/react-query";
import { isPassing } from "../api";
import { onRenewal, session } from "../session";

export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      retry: (failures, error) => isPassing(error) && failures < 5,
      staleTime: 2000,
      refetchOnWindowFocus: true,
    },
  },
});

// Nothing that one person saw may be shown to the next.
session.subscribe(() => {
  if (session.get().status === "signed-out") queries.clear();
});
onRenewal(() => void queries.invalidateQueries());
