// Reads the HTTP API. Addresses are relative, so the page also works below a path of a proxy.
import { askToken, headers } from './token.js';

const BASE = 'api/v1/';

/** The server answered, but not with what was asked for. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The address of `path` with the parameters that have a value. */
export function address(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== '') query.set(name, value);
  }
  const text = query.toString();
  return BASE + path + (text ? `?${text}` : '');
}

/**
 * Reads a JSON answer. The browser asks with the tag of its last answer, so what has not changed is
 * not sent again; `fresh` is for answers that change between publications.
 */
export async function get(path, parameters, { signal, fresh = false } = {}) {
  const response = await fetch(address(path, parameters), {
    signal, headers: headers(), cache: fresh ? 'no-store' : 'no-cache',
  });
  if (response.status === 401) {
    await askToken();
    return get(path, parameters, { signal, fresh });
  }
  if (!response.ok) throw new Refused(response.status, await reason(response));
  return response.json();
}

async function reason(response) {
  try {
    return (await response.json()).error ?? response.statusText;
  } catch {
    return `The server answered ${response.status} ${response.statusText}.`;
  }
}
