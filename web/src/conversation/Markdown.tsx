/**
 * What the model wrote, as text with form. It may hold anything: HTML stays text, nothing is loaded
 * from elsewhere, and of links only those remain that lead to a page or a mailbox.
 */
import { memo, type ReactNode, useState } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import rehypeHighlight from "rehype-highlight";
import rehypeSanitize from "rehype-sanitize";
import remarkGfm from "remark-gfm";
import { CheckIcon, CopyIcon } from "../shell/icons";
import { copy } from "./copy";
import { htmlAsText } from "./htmlAsText";

const ALLOWED = /^(https?:\/\/|mailto:)/i;
const COPIED_MS = 2000;
const REMARK = [remarkGfm, htmlAsText];
// Made once: it learns all its languages each time it is made.
const highlight = rehypeHighlight();
const REHYPE = [rehypeSanitize, () => highlight];

function address(url: string): string {
  return ALLOWED.test(url) ? url : "";
}

const COMPONENTS: Components = {
  a: ({ href, children }) =>
    href ? (
      <a href={href} target="_blank" rel="noopener noreferrer">
        {children}
      </a>
    ) : (
      <span>{children}</span>
    ),
  // To load it would tell somebody that it was read, and whatever else its address says.
  img: ({ alt }) => <span className="no-image">[image{alt ? `: ${alt}` : ""}]</span>,
  pre: ({ children }) => <Code>{children}</Code>,
  table: ({ children }) => (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a wide table is scrolled by keys too
    <section className="wide" aria-label="Table" tabIndex={0}>
      <table>{children}</table>
    </section>
  ),
};

const Markdown = memo(function Markdown({ text }: { text: string }) {
  return (
    <ReactMarkdown
      remarkPlugins={REMARK}
      rehypePlugins={REHYPE}
      components={COMPONENTS}
      urlTransform={address}
    >
      {text}
    </ReactMarkdown>
  );
});
export default Markdown;

function Code({ children }: { children: ReactNode }) {
  const [copied, setCopied] = useState(false);
  const onClick = async (event: React.MouseEvent<HTMLButtonElement>) => {
    const code = event.currentTarget.closest(".code")?.querySelector("pre")?.textContent ?? "";
    if (!(await copy(code))) return;
    setCopied(true);
    setTimeout(() => setCopied(false), COPIED_MS);
  };
  return (
    <div className="code">
      <div className="code-top">
        <span>{languageOf(children)}</span>
        <button type="button" className="quiet-button" onClick={onClick} aria-label="Copy code">
          {copied ? <CheckIcon /> : <CopyIcon />}
          <span aria-live="polite">{copied ? "Copied" : "Copy"}</span>
        </button>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: long lines are scrolled by keys too */}
      <pre tabIndex={0}>{children}</pre>
    </div>
  );
}

function languageOf(children: ReactNode): string {
  const props = (children as { props?: { className?: string } } | null)?.props;
  return /language-(\S+)/.exec(props?.className ?? "")?.[1] ?? "";
}
