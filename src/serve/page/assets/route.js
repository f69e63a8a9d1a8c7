// The address names the view, the video and the filters: #trending?genre=Drama, #video/123.

const VIEWS = ['trending', 'video', 'epochs', 'ledger', 'job'];

export function parse(hash) {
  const [path, query = ''] = hash.replace(/^#/, '').split('?');
  const [view, id = ''] = path.split('/');
  return {
    view: VIEWS.includes(view) ? view : 'trending',
    id: decode(id),
    parameters: new URLSearchParams(query),
  };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The address of a view, without the parameters that are empty. */
export function link(view, id = '', parameters = {}) {
  const kept = Object.entries(parameters).filter(([, value]) => value);
  const query = new URLSearchParams(kept).toString();
  return `#${view}${id && `/${encodeURIComponent(id)}`}${query && `?${query}`}`;
}
