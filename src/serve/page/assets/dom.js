// Changes of the document. All text goes through `textContent`: no answer is ever read as HTML.

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** Sets the text of a node, unless it has it: so selections and screen readers are left alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** A description list as tiles: `fill({Label: text, …})` changes only what differs. */
export function tiles(list) {
  const values = new Map();
  return (entries) => {
    for (const [label, text] of Object.entries(entries)) {
      if (!values.has(label)) {
        const value = element('dd');
        list.append(element('div', {}, element('dt', { textContent: label }), value));
        values.set(label, value);
      }
      setText(values.get(label), text);
    }
  };
}
