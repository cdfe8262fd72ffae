import { follow, pathOf, useRoute } from "../router";
import { useSearch } from "../state/lists";
import type { SearchResult } from "../state/types";
import { Endless, Skeletons } from "./Endless";
import { drawer } from "./panels";
import { Trouble } from "./Trouble";
import { ago, full } from "./time";

export default function SearchResults({ said }: { said: string }) {
  const found = useSearch(said);
  const current = useRoute();
  const results = found.data?.pages.flatMap((page) => page.results) ?? [];
  if (found.isPending) return <Skeletons count={4} />;
  if (found.error !== null && results.length === 0) {
    return <Trouble error={found.error} again={found.refetch} />;
  }
  return (
    <>
      <p className={results.length === 0 ? "list-note" : "visually-hidden"} role="status">
        {results.length === 0
          ? `Nothing found for “${said}”.`
          : countOf(results, found.hasNextPage)}
      </p>
      {results.length > 0 && (
        <ul className="rows" aria-label="Search results">
          {results.map((result) => (
            <Result
              key={result.message_id}
              result={result}
              current={result.conversation_id === current}
            />
          ))}
        </ul>
      )}
      <Endless
        more={found.hasNextPage}
        loading={found.isFetchingNextPage}
        error={found.isFetchNextPageError ? found.error : null}
        load={found.fetchNextPage}
      />
    </>
  );
}

function countOf({ length }: readonly SearchResult[], more: boolean): string {
  if (more) return `${length} results, and more`;
  return length === 1 ? "1 result" : `${length} results`;
}

function Result({ result, current }: { result: SearchResult; current: boolean }) {
  const { conversation_id, conversation_title, role, created_at, snippet } = result;
  const go = follow(conversation_id);
  return (
    <li className={current ? "row current" : "row"}>
      <a
        href={pathOf(conversation_id)}
        aria-current={current ? "page" : undefined}
        onClick={(event) => {
          go(event);
          drawer.set(false);
        }}
      >
        <span className="row-title">{conversation_title}</span>
        <time dateTime={created_at} title={full(created_at)}>
          {ago(created_at)}
        </time>
        <span className="row-preview found">
          {role === "user" ? "You: " : "Assistant: "}
          {snippet.map(({ text, match }, n) => (match ? <mark key={n}>{text}</mark> : text))}
        </span>
      </a>
    </li>
  );
}
