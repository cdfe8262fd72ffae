const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });
const short = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const long = new Intl.DateTimeFormat("en", { dateStyle: "full", timeStyle: "short" });
const clock = new Intl.DateTimeFormat("en", { timeStyle: "short" });

export function ago(time: string, now = Date.now()): string {
  const seconds = Math.max(0, (now - Date.parse(time)) / 1000);
  if (seconds < MINUTE) return "now";
  if (seconds < HOUR) return relative.format(-Math.floor(seconds / MINUTE), "minute");
  if (seconds < DAY) return relative.format(-Math.floor(seconds / HOUR), "hour");
  if (seconds < WEEK) return relative.format(-Math.floor(seconds / DAY), "day");
  return short.format(new Date(time));
}

export function full(time: string): string {
  return long.format(new Date(time));
}

export function oclock(time: string): string {
  return clock.format(new Date(time));
}

export function lasted(milliseconds: number): string {
  return milliseconds < 1000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}
