// The units of the API's numbers: what a score, and what a rate, is multiplied with to be shown.

/** Scores, momentum and expected plays. */
export const SCORE = 1e-3;
/** Take rates and their bounds. */
export const RATE = 1e-6;

const FIELDS = {
  score: SCORE, momentum: SCORE, expected_plays: SCORE, rate: RATE, rate_low: RATE, rate_high: RATE,
};

/** A row whose numbers are of one: standard deviations, plays, and shares from 0 to 1. */
export function inUnits(row) {
  const numbers = Object.entries(FIELDS)
    .filter(([name]) => typeof row[name] === 'number')
    .map(([name, unit]) => [name, row[name] * unit]);
  return { ...row, ...Object.fromEntries(numbers) };
}
