// Runs before the first paint: the chosen theme, and the one view that the address names.
// Without JavaScript all views are below each other.
(() => {
  const root = document.documentElement;
  try {
    const theme = localStorage.getItem('trendmark-theme');
    if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
  } catch {
    // The browser keeps nothing for this page: the theme of the system it is.
  }
  const named = /^#(video|epochs|ledger|job)\b/.exec(location.hash);
  root.dataset.view = named ? named[1] : 'trending';
})();
