import { follow, pathOf } from "../router";
import { useSearch } from "../state/lists";
import type { SearchResult } from "../state/types";
import { Endless, Skeletons } from "./Endless";
import { drawer } from "./panels";
import { ago, full } from "./time";

export default function SearchResults({ said }: { said: string }) {
  const { data, error, isPending, hasNextPage, isFetchingNextPage, fetchNextPage } =
    useSearch(said);
  if (isPending) return <Skeletons count={4} />;
  if (error !== null) return <p className="list-note">{error.message}</p>;
  const results = data.pages.flatMap((page) => page.results);
  if (results.length === 0) return <p className="list-note">Nothing found for “{said}”.</p>;
  return (
    <>
      <ul className="rows" aria-label="Search results">
        {results.map((result) => (
          <Result key={result.message_id} result={result} />
        ))}
      </ul>
      <Endless more={hasNextPage} loading={isFetchingNextPage} load={fetchNextPage} />
    </>
  );
}

function Result({ result }: { result: SearchResult }) {
  const { conversation_id, conversation_title, role, created_at, snippet } = result;
  const go = follow(conversation_id);
  return (
    <li className="row">
      <a
        href={pathOf(conversation_id)}
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
          {role === "user" ? "You: " : ""}
          {snippet.map(({ text, match }, n) => (match ? <mark key={n}>{text}</mark> : text))}
        </span>
      </a>
    </li>
  );
}
