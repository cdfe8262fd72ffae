import { lazy, memo, Suspense } from "react";
import { blocksOf } from "./blocks";

const Markdown = lazy(() => import("./Markdown"));

/** Longer texts are cut into blocks even when they are whole: parsed at once they would hold up. */
const LONG = 20_000;

interface Props {
  text: string;
  /** It still grows. */
  growing?: boolean;
}

export const Content = memo(function Content({ text, growing = false }: Props) {
  const blocks = growing || text.length > LONG ? blocksOf(text) : [text];
  return (
    <div className="content">
      <Suspense fallback={<p className="plain">{text}</p>}>
        {blocks.map((block, place) => (
          <Markdown key={place} text={block} />
        ))}
      </Suspense>
    </div>
  );
});
