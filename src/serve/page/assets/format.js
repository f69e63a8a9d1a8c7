// Numbers, times and ages as text. What is not known is a dash, never zero.

export const DASH = '–';
const MINUS = '−';
const NARROW = '\u202f';
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const reals = [0, 1, 2].map((digits) => new Intl.NumberFormat('en-US', {
  minimumFractionDigits: digits, maximumFractionDigits: digits,
}));

const unknown = (value) => value === null || value === undefined || Number.isNaN(value);

export function count(value) {
  return unknown(value) ? DASH : whole.format(value).replace('-', MINUS);
}

export function real(value, digits = 1) {
  return unknown(value) ? DASH : reals[digits].format(value).replace('-', MINUS);
}

/** A number with its sign, as +1.2 or −1.2. */
export function signed(value) {
  const text = real(value);
  return value > 0 && text !== '0.0' ? `+${text}` : text.replace(/^−0\.0$/, '0.0');
}

export function percent(share, digits = 1) {
  return unknown(share) ? DASH : `${real(share * 100, digits)}${NARROW}%`;
}

/** Two bounds of a share, as 3.9–9.2. */
export function bounds(low, high) {
  return unknown(low) || unknown(high) ? '' : `${real(low * 100)}–${real(high * 100)}`;
}

export function bytes(value) {
  if (unknown(value)) return DASH;
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${real(value, unit === 0 || value >= 100 ? 0 : 1)} ${units[unit]}`;
}

/** What is left to read: records of topics, bytes of files. */
export function lag(job) {
  if (unknown(job?.lag_records)) return bytes(job?.lag_bytes);
  return `${count(job.lag_records)} records`;
}

/** The date and minute of an RFC 3339 time in UTC, as 2026-01-01 02:30. */
export function minute(time) {
  return time ? `${day(time)} ${clock(time)}` : DASH;
}

/** As `minute`, with seconds where there are any. */
export function instant(time) {
  if (!time) return DASH;
  const seconds = time.slice(16, 19);
  return minute(time) + (seconds === ':00' ? '' : seconds);
}

export const day = (time) => time.slice(0, 10);
export const clock = (time) => time.slice(11, 16);

/** An epoch, as 2026-01-01 02:00–02:30. */
export function epochRange(start, lengthMs) {
  if (!start) return DASH;
  const end = new Date(Date.parse(start) + lengthMs).toISOString();
  return `${minute(start)}–${clock(end)}`;
}

/** A duration with its two largest units, as 2 h 5 min. */
export function duration(ms) {
  if (unknown(ms)) return DASH;
  const past = Math.max(0, ms);
  if (past < MINUTE) return `${Math.floor(past / 1000)} s`;
  if (past < HOUR) return `${Math.floor(past / MINUTE)} min`;
  if (past < DAY) return two(past, HOUR, 'h', MINUTE, 'min');
  return past < 10 * DAY ? two(past, DAY, 'd', HOUR, 'h') : `${count(Math.floor(past / DAY))} d`;
}

function two(ms, large, largeName, small, smallName) {
  const rest = Math.floor((ms % large) / small);
  const start = `${Math.floor(ms / large)} ${largeName}`;
  return rest ? `${start} ${rest} ${smallName}` : start;
}
