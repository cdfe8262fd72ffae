/** The time, to the minute: what says "5 min ago" is drawn again as it passes. */
import { useEffect, useState } from "react";

const MINUTE_MS = 60_000;

export function useMinute(): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), MINUTE_MS);
    return () => clearInterval(timer);
  }, []);
  return now;
}
