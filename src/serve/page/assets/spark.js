// A small line of plays over epochs, as SVG.
import { setAttribute } from './dom.js';
import { count } from './format.js';

const WIDTH = 132;
const HEIGHT = 26;
const EDGE = 3;
const NAMESPACE = 'http://www.w3.org/2000/svg';

function shape(tag, className) {
  const node = document.createElementNS(NAMESPACE, tag);
  node.setAttribute('class', className);
  return node;
}

/**
 * A column with a line for `row.spark`: epochs with plays, of the `length` epochs to that of the
 * row. While that is provisional, the way to it is dashed: its plays have not all arrived.
 */
export function spark(length = 24) {
  return {
    className: 'spark',
    make: (cell) => {
      const svg = shape('svg', 'line');
      svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
      svg.setAttribute('preserveAspectRatio', 'xMinYMid');
      svg.setAttribute('role', 'img');
      const area = shape('path', 'area');
      const line = shape('path', 'stroke');
      const tail = shape('path', 'tail');
      const dot = shape('circle', 'dot');
      dot.setAttribute('r', '2.4');
      svg.append(area, line, tail, dot);
      cell.append(svg);
      return (row) => draw({ svg, area, line, tail, dot }, row, length);
    },
  };
}

function draw({ svg, area, line, tail, dot }, row, length) {
  const points = row.spark ?? [];
  const most = Math.max(1, ...points.map((point) => point.plays));
  const at = points.map((point) => ({
    epoch: point.epoch,
    x: EDGE + ((point.epoch - row.epoch + length - 1) / (length - 1)) * (WIDTH - 2 * EDGE),
    y: HEIGHT - EDGE - (point.plays / most) * (HEIGHT - 2 * EDGE),
  }));
  const runs = unbroken(at);
  const open = row.final || !runs.length ? [] : runs.at(-1).slice(-2);
  setAttribute(line, 'd', runs.map((run) => lineOf(without(run, open))).join(''));
  setAttribute(tail, 'd', open.length ? lineOf(open) : '');
  setAttribute(area, 'd', runs.map(areaOf).join(''));
  const end = at.at(-1);
  setAttribute(dot, 'cx', end ? end.x.toFixed(1) : '-9');
  setAttribute(dot, 'cy', end ? end.y.toFixed(1) : '-9');
  setAttribute(svg, 'aria-label', describe(points));
}

/** Epochs that are missing break the line. */
function unbroken(at) {
  const runs = [];
  at.forEach((point, index) => {
    if (index > 0 && point.epoch === at[index - 1].epoch + 1) runs.at(-1).push(point);
    else runs.push([point]);
  });
  return runs;
}

const without = (run, open) => (run.at(-1) === open.at(-1) ? run.slice(0, -1) : run);
const pair = ({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`;
const lineOf = (run) => (run.length ? `M${run.map(pair).join('L')}` : '');

function areaOf(run) {
  const floor = HEIGHT - EDGE;
  return `M${run[0].x.toFixed(1)} ${floor}L${run.map(pair).join('L')}`
    + `L${run.at(-1).x.toFixed(1)} ${floor}Z`;
}

function describe(points) {
  if (points.length === 0) return 'no plays';
  const plays = points.map((point) => point.plays);
  return `last ${count(plays.at(-1))} plays, between ${count(Math.min(...plays))} `
    + `and ${count(Math.max(...plays))}`;
}
