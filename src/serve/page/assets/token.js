// The token of a server that asks for one: asked for once, kept until the tab is closed.

const KEY = 'trendmark-token';
let token = kept();
let asking = null;

function kept() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export function headers() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Asks for the token. Whoever asks meanwhile waits for the same answer. */
export function askToken() {
  asking ??= ask().finally(() => { asking = null; });
  return asking;
}

function ask() {
  const dialog = document.getElementById('token');
  const input = dialog.querySelector('input');
  dialog.querySelector('.note').hidden = token === null;
  input.value = '';
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve, reject) => {
    dialog.addEventListener('close', () => {
      if (!input.value) {
        reject(new Error('The server answers only with its token: load the page again.'));
        return;
      }
      token = input.value;
      input.value = '';
      try {
        sessionStorage.setItem(KEY, token);
      } catch {
        // It is asked for again when the page is loaded again.
      }
      resolve();
    }, { once: true });
  });
}

/** Links cannot send a token: where there is one, files of the API are fetched, then saved. */
export function saveWithToken(event) {
  const link = event.target.closest?.('a[href^="api/"]');
  if (!link || !token) return;
  event.preventDefault();
  save(link.href);
}

async function save(href) {
  const response = await fetch(href, { headers: headers() });
  const url = URL.createObjectURL(await response.blob());
  const link = document.createElement('a');
  link.href = url;
  link.download = new URL(href).pathname.split('/').pop();
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
