import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blocksOf } from "../src/conversation/blocks";

describe("text that grows", () => {
  it("is cut between paragraphs, and the pieces are all of it", () => {
    expect(blocksOf("one\n\ntwo\n\n- a\n\n- b\n")).toEqual(["one\n\n", "two\n\n- a\n\n- b\n"]);
    const line = fc.constantFrom(
      "a\n",
      "\n",
      "```\n",
      "```js\n",
      "~~~\n",
      "- x\n",
      "| y |\n",
      "  z\n",
    );
    fc.assert(
      fc.property(fc.array(line), (lines) => blocksOf(lines.join("")).join("") === lines.join("")),
    );
  });

  it("is never cut within a fence, whatever stands in it", () => {
    const fenced = "```md\nsee\n```js\n\ncode\n~~~\n\nmore\n```\n";
    expect(blocksOf(`before\n\n${fenced}\nafter`)).toEqual(["before\n\n", `${fenced}\n`, "after"]);
  });
});
