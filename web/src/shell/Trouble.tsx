/** What could not be read, in the problem's own words, and another try. */
export function Trouble({ error, again }: { error: Error; again: () => unknown }) {
  return (
    <div className="list-note" role="alert">
      <p>{error.message}</p>
      <button type="button" className="secondary" onClick={() => again()}>
        Try again
      </button>
    </div>
  );
}
