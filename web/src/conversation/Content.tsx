import { lazy, memo } from "react";
import { Later } from "../shell/Boundary";
import { toast } from "../toast";
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
  const plain = <p className="plain">{text}</p>;
  return (
    <div className="content">
      <Later meanwhile={plain} otherwise={plain} onError={tellPlain}>
        {blocks.map((block, place) => (
          <Markdown key={place} text={block} />
        ))}
      </Later>
    </div>
  );
});

/** A browser that couldn't load a script doesn't ask for it again. */
function tellPlain() {
  toast("Answers are shown as plain text. Reload the page to see them laid out.");
}
