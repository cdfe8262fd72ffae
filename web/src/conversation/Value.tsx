/** Whatever a tool was given or gave back: always text, in a form that can be read. */
const DEEPEST = 2;

export function Value({ value, depth = 0 }: { value: unknown; depth?: number }) {
  if (value === null || value === undefined || value === "")
    return <span className="quiet">none</span>;
  if (typeof value !== "object") return <span className="value">{String(value)}</span>;
  if (depth >= DEEPEST) return <pre className="json">{JSON.stringify(value, null, 2)}</pre>;
  if (!Array.isArray(value))
    return <Fields value={value as Record<string, unknown>} depth={depth} />;
  if (value.length === 0) return <span className="quiet">empty</span>;
  return value.every(isRecord) ? (
    <Rows rows={value} depth={depth} />
  ) : (
    <ul className="values">
      {value.map((one, n) => (
        <li key={n}>
          <Value value={one} depth={depth + 1} />
        </li>
      ))}
    </ul>
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function Fields({ value, depth }: { value: Record<string, unknown>; depth: number }) {
  const fields = Object.entries(value);
  if (fields.length === 0) return <span className="quiet">none</span>;
  return (
    <dl className="fields">
      {fields.map(([name, field]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <Value value={field} depth={depth + 1} />
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Rows({ rows, depth }: { rows: Record<string, unknown>[]; depth: number }) {
  const names = [...new Set(rows.flatMap(Object.keys))];
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a wide table is scrolled by keys too
    <section className="wide" aria-label="Table" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {names.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, n) => (
            <tr key={n}>
              {names.map((name) => (
                <td key={name}>
                  <Value value={row[name]} depth={depth + 1} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
