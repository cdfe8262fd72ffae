/** The browser's own dialog: it keeps the focus within, and Escape closes it. */
import { type KeyboardEvent, type ReactNode, useEffect, useId, useRef } from "react";

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
      onCancel={(event) => firm && event.preventDefault()}
      onClose={closed}
      onKeyDown={onKeyDown}
    >
      <h2 id={heading}>{title}</h2>
      {children}
    </dialog>
  );
}
