/** The browser's own dialog: it keeps the focus within, and Escape closes it. */
import {
  type KeyboardEvent,
  type ReactNode,
  type SyntheticEvent,
  useEffect,
  useId,
  useRef,
} from "react";

interface Props {
  title: string;
  onClose: () => void;
  /** One that must be answered: Escape doesn't close it. */
  firm?: boolean;
  className?: string;
  children: ReactNode;
}

export function Dialog({ title, onClose, firm = false, className = "", children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    dialog.current?.showModal();
    return () => before?.focus();
  }, []);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    if (firm) event.preventDefault();
  };
  // At once, and not with the browser's `close`, which comes later: what is pressed next counts.
  const cancelled = (event: SyntheticEvent) => {
    event.preventDefault();
    if (!firm) onClose();
  };
  const closed = () => {
    // A browser lets nobody be held for ever: whoever insists closes even a firm one.
    if (firm) dialog.current?.showModal();
    else onClose();
  };
  return (
    <dialog
      ref={dialog}
      className={`dialog ${className}`}
      aria-labelledby={heading}
      onCancel={cancelled}
      onClose={closed}
      onKeyDown={onKeyDown}
    >
      <h2 id={heading}>{title}</h2>
      {children}
    </dialog>
  );
}
