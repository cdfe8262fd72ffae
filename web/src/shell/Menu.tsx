/** A button that opens a short list of things to do (the menu button of the ARIA practices). */
import {
  type KeyboardEvent,
  type ReactNode,
  type RefObject,
  useEffect,
  useId,
  useLayoutEffect,
  useRef,
  useState,
} from "react";

export interface Choice {
  label: string;
  /** One line that explains it. */
  hint?: string;
  danger?: boolean;
  /** A download instead of a deed. */
  href?: string;
  choose?: () => void;
}

interface Props {
  label: string;
  icon: ReactNode;
  choices: readonly Choice[];
  className?: string;
}

export function Menu({ label, icon, choices, className = "" }: Props) {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  const up = useIsCramped(open, box);

  useEffect(() => {
    if (!open) return;
    box.current?.querySelector<HTMLElement>("[role=menuitem]")?.focus();
    const outside = (event: PointerEvent) => {
      if (!box.current?.contains(event.target as Node)) setOpen(false);
    };
    addEventListener("pointerdown", outside);
    return () => removeEventListener("pointerdown", outside);
  }, [open]);

  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (!open) return;
    if (event.key === "Escape") {
      // Only the menu: Escape means something else to the page.
      event.stopPropagation();
      close();
    } else if (event.key === "Tab") setOpen(false);
    else move(event, box.current);
  };
  const chosen = (choice: Choice) => {
    close();
    choice.choose?.();
  };

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the keys are those of the menu within
    <div ref={box} className={`menu ${className} ${up ? "up" : ""}`} onKeyDown={onKeyDown}>
      <button
        ref={button}
        type="button"
        className="icon-button"
        aria-label={label}
        title={label}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        onClick={() => setOpen(!open)}
      >
        {icon}
      </button>
      {open && (
        <div id={id} role="menu" aria-label={label} className="menu-list">
          {choices.map((choice) => (
            <Item key={choice.label} choice={choice} onChoose={() => chosen(choice)} />
          ))}
        </div>
      )}
    </div>
  );
}

function Item({ choice, onChoose }: { choice: Choice; onChoose: () => void }) {
  const className = choice.danger ? "menu-item danger" : "menu-item";
  const words = (
    <>
      <span>{choice.label}</span>
      {choice.hint !== undefined && <small>{choice.hint}</small>}
    </>
  );
  if (choice.href !== undefined) {
    return (
      <a
        role="menuitem"
        tabIndex={-1}
        className={className}
        href={choice.href}
        download
        onClick={onChoose}
      >
        {words}
      </a>
    );
  }
  return (
    <button role="menuitem" tabIndex={-1} type="button" className={className} onClick={onChoose}>
      {words}
    </button>
  );
}

function move(event: KeyboardEvent, box: HTMLElement | null): void {
  const items = Array.from(box?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? []);
  const now = items.indexOf(document.activeElement as HTMLElement);
  const steps: Record<string, number> = {
    ArrowDown: (now + 1) % items.length,
    ArrowUp: (now - 1 + items.length) % items.length,
    Home: 0,
    End: items.length - 1,
  };
  const place = steps[event.key];
  if (place === undefined) return;
  event.preventDefault();
  items[place]?.focus();
}

/** There is less room below than it needs, and enough above. */
function useIsCramped(open: boolean, box: RefObject<HTMLElement | null>): boolean {
  const [cramped, setCramped] = useState(false);
  useLayoutEffect(() => {
    const list = box.current?.querySelector("[role=menu]")?.getBoundingClientRect();
    if (!open || list === undefined || box.current === null) return setCramped(false);
    const around = frameOf(box.current);
    const start = box.current.getBoundingClientRect().top;
    setCramped(list.bottom > around.bottom && start - around.top > list.height);
  }, [open, box]);
  return cramped;
}

/** What cuts it off: a list that scrolls, or the window. */
function frameOf(box: HTMLElement): { top: number; bottom: number } {
  const list = box.closest(".sidebar-list")?.getBoundingClientRect();
  return list ?? { top: 0, bottom: innerHeight };
}
