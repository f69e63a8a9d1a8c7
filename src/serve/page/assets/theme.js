// The theme: that of the system, light, or dark.

const KEY = 'trendmark-theme';
const NEXT = { auto: 'light', light: 'dark', dark: 'auto' };
const NAMES = { auto: 'Theme: auto', light: 'Theme: light', dark: 'Theme: dark' };

/** Lets `button` change the theme; `changed` is called whenever colours change. */
export function startTheme(button, changed) {
  const root = document.documentElement;
  const chosen = () => root.dataset.theme ?? 'auto';
  const show = () => {
    button.textContent = NAMES[chosen()];
    changed();
  };
  button.addEventListener('click', () => {
    const theme = NEXT[chosen()];
    if (theme === 'auto') delete root.dataset.theme;
    else root.dataset.theme = theme;
    keep(theme);
    show();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', show);
  button.hidden = false;
  show();
}

function keep(theme) {
  try {
    if (theme === 'auto') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // It is forgotten when the page is left.
  }
}
