import { useEffect, useRef } from "react";

interface Props {
  more: boolean;
  loading: boolean;
  load: () => void;
}

/** The end of a list: coming near it loads the next page. */
export function Endless({ more, loading, load }: Props) {
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (end.current === null || !more || loading) return;
    const watch = new IntersectionObserver(([entry]) => entry?.isIntersecting && load(), {
      rootMargin: "200px",
    });
    watch.observe(end.current);
    return () => watch.disconnect();
  }, [more, loading, load]);
  return (
    <div ref={end} className="endless">
      {loading && <Skeletons count={2} />}
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
