import { useEffect, useRef } from "react";
import { Trouble } from "./Trouble";

interface Props {
  more: boolean;
  loading: boolean;
  /** Why the next page did not come: then it is asked for by hand only. */
  error: Error | null;
  load: () => void;
}

/** The end of a list: coming near it loads the next page. */
export function Endless({ more, loading, error, load }: Props) {
  const end = useRef<HTMLDivElement>(null);
  const waits = more && !loading && error === null;
  useEffect(() => {
    if (end.current === null || !waits) return;
    const watch = new IntersectionObserver(([entry]) => entry?.isIntersecting && load(), {
      rootMargin: "200px",
    });
    watch.observe(end.current);
    return () => watch.disconnect();
  }, [waits, load]);
  return (
    <div ref={end} className="endless">
      {loading && <Skeletons count={2} />}
      {error !== null && !loading && <Trouble error={error} again={load} />}
    </div>
  );
}

export function Skeletons({ count }: { count: number }) {
  return (
    <div className="skeletons" aria-hidden="true">
      {Array.from({ length: count }, (_, n) => (
        <div key={n} className="skeleton" />
      ))}
    </div>
  );
}
