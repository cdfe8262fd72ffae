import { type KeyboardEvent, memo, useEffect, useRef } from "react";
import { DownIcon, SendIcon, StopIcon } from "../shell/icons";
import { Menu } from "../shell/Menu";
import { useDraft } from "../state/drafts";
import type { OnBusy } from "../state/types";

const LONGEST = 10_000;
const COUNTED_FROM = 8000;
const COMPOSING = 229;
const HOW: readonly { label: string; hint: string; onBusy: OnBusy }[] = [
  { label: "Send next", hint: "Waits until this answer is finished.", onBusy: "enqueue" },
  { label: "Interrupt", hint: "Stops this answer; its text stays.", onBusy: "interrupt" },
  { label: "Steer", hint: "This answer takes it into account.", onBusy: "steer" },
];

interface Props {
  id: string | null;
  /** An answer runs or waits. */
  busy: boolean;
  send: (content: string, onBusy?: OnBusy) => void;
  stop: () => void;
}

export const Composer = memo(function Composer({ id, busy, send, stop }: Props) {
  const [text, setText] = useDraft(id);
  const box = useRef<HTMLTextAreaElement>(null);
  const length = lengthOf(text);
  const sendable = text.trim() !== "" && length <= LONGEST;

  useEffect(() => {
    // On a phone it would bring up the keyboard over what one came to read.
    if (!isTouch()) box.current?.focus();
  }, []);
  useEffect(() => grow(box.current, text), [text]);

  const submit = (onBusy?: OnBusy) => {
    if (!sendable) return;
    send(text, onBusy);
    setText("");
    box.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    const composing = event.nativeEvent.isComposing || event.keyCode === COMPOSING;
    if (event.key !== "Enter" || event.shiftKey || composing || isTouch()) return;
    event.preventDefault();
    submit();
  };

  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <div className="composer-box">
        <textarea
          ref={box}
          id="composer"
          rows={1}
          aria-label="Message"
          aria-describedby="composer-count"
          aria-invalid={length > LONGEST}
          placeholder={busy ? "Say something more…" : "Ask anything…"}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={onKeyDown}
        />
        <div className="composer-buttons">
          {busy && (
            <>
              <Menu
                label="How to send while an answer runs"
                className="above"
                icon={<DownIcon />}
                choices={HOW.map(({ label, hint, onBusy }) => ({
                  label,
                  hint,
                  choose: () => submit(onBusy),
                }))}
              />
              <button
                type="button"
                className="round stop"
                aria-label="Stop"
                title="Stop (Esc)"
                onClick={stop}
              >
                <StopIcon />
              </button>
            </>
          )}
          <button
            type="submit"
            className="round"
            aria-label="Send"
            title="Send (Enter)"
            disabled={!sendable}
          >
            <SendIcon />
          </button>
        </div>
      </div>
      <p
        id="composer-count"
        className={length > LONGEST ? "count too-long" : "count"}
        aria-live="polite"
      >
        {countOf(length)}
      </p>
    </form>
  );
});

/** In code points, as the server counts; where the answer is plain no exact count is needed. */
function lengthOf(text: string): number {
  const plain = text.length < COUNTED_FROM || text.length > 2 * LONGEST;
  return plain ? text.length : Array.from(text).length;
}

function countOf(length: number): string {
  if (length < COUNTED_FROM) return "";
  const count = `${length.toLocaleString("en")} of ${LONGEST.toLocaleString("en")} characters`;
  return length > LONGEST ? `${count}: too long to be sent` : count;
}

function isTouch(): boolean {
  return matchMedia("(pointer: coarse)").matches;
}

/** Where the browser doesn't do it by itself (`field-sizing: content`). */
function grow(box: HTMLTextAreaElement | null, _: string): void {
  if (box === null || CSS.supports("field-sizing", "content")) return;
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}
