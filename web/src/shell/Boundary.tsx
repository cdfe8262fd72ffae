/** What breaks, or can't be loaded, takes only its own part of the page along. */
import { Component, type ReactNode, Suspense } from "react";

interface Props {
  /** Shown in its place. */
  otherwise: ReactNode;
  onError?: (error: unknown) => void;
  children: ReactNode;
}

export class Boundary extends Component<Props, { broken: boolean }> {
  override state = { broken: false };

  static getDerivedStateFromError() {
    return { broken: true };
  }

  override componentDidCatch(error: unknown) {
    this.props.onError?.(error);
  }

  override render() {
    return this.state.broken ? this.props.otherwise : this.props.children;
  }
}

interface LaterProps extends Omit<Props, "otherwise"> {
  otherwise?: ReactNode;
  meanwhile?: ReactNode;
}

/** A part whose script is loaded once it is wanted. */
export function Later({ meanwhile = null, otherwise = <NotLoaded />, ...rest }: LaterProps) {
  return (
    <Boundary {...rest} otherwise={otherwise}>
      <Suspense fallback={meanwhile}>{rest.children}</Suspense>
    </Boundary>
  );
}

/** A new version may have been put in place of the one this page began with. */
function NotLoaded() {
  return (
    <div className="list-note" role="alert">
      <p>This part of the page could not be loaded.</p>
      <Reload />
    </div>
  );
}

function Reload() {
  return (
    <button type="button" className="secondary" onClick={() => location.reload()}>
      Reload the page
    </button>
  );
}

/** In place of the whole page. */
export function Broken() {
  return (
    <main className="sign-in-page">
      <h1>The page has stumbled</h1>
      <p className="quiet" role="alert">
        What was sent is with the service. Reload the page to go on.
      </p>
      <Reload />
    </main>
  );
}
