const FENCE = /^ {0,3}(`{3,}|~{3,})/;
/** What ends a fence stands alone: a language after it begins another, which is text within. */
const BARE = /^ {0,3}(`{3,}|~{3,})\s*$/;
const GOES_ON = /^(\s|[-*+] |\d+[.)] |>|\|)/;

/**
 * Markdown cut into pieces that can be drawn by themselves, so that of a text that grows only the
 * last one is parsed again. Their concatenation is the text. Cut is only at a blank line outside of
 * a fence and before a line that continues neither list, quotation nor table.
 */
export function blocksOf(text: string): string[] {
  const blocks: string[] = [];
  let block = "";
  let fence = "";
  let blank = false;
  for (const line of text.split(/(?<=\n)/)) {
    if (blank && fence === "" && line.trim() !== "" && !GOES_ON.test(line)) {
      blocks.push(block);
      block = "";
    }
    const found = FENCE.exec(line)?.[1];
    if (found !== undefined) {
      if (fence === "") fence = found;
      else if (BARE.test(line) && found[0] === fence[0] && found.length >= fence.length) fence = "";
    }
    blank = line.trim() === "";
    block += line;
  }
  if (block !== "") blocks.push(block);
  return blocks;
}
