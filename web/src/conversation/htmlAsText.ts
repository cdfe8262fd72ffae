interface Node {
  type: string;
  value?: string;
  children?: Node[] | undefined;
}

/** Where text stands in a paragraph of its own. */
const HOLDS_BLOCKS = new Set(["root", "blockquote", "listItem", "footnoteDefinition"]);

/** A plugin for remark: HTML that somebody wrote is shown as it was written, and none of it is lost. */
export function htmlAsText() {
  return shown;
}

function shown(node: Node): void {
  const block = HOLDS_BLOCKS.has(node.type);
  for (const child of node.children ?? []) shown(child);
  node.children = node.children?.map((child) =>
    child.type === "html" ? asText(child, block) : child,
  );
}

function asText({ value = "" }: Node, block: boolean): Node {
  const text: Node = { type: "text", value };
  return block ? { type: "paragraph", children: [text] } : text;
}
