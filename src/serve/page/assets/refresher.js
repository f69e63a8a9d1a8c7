// Reads the view anew: one reading at a time, and not more often than the view wants.

const HELD_MS = 300;

export class Refresher {
  constructor(failed) {
    this.failed = failed;
    this.view = null;
    this.asked = false;
    this.held = false;
    this.down = false;
    addEventListener('pointerdown', () => { this.down = true; });
    for (const end of ['pointerup', 'pointercancel', 'blur']) {
      addEventListener(end, () => { this.down = false; });
    }
  }

  /** Changes to another view, or to other parameters of it, and reads at once. */
  show(view) {
    this.stopper?.abort();
    clearTimeout(this.timer);
    this.view = view;
    this.timer = null;
    this.running = false;
    this.succeeded = false;
    this.asked = true;
    this.run();
  }

  /** Asks for a reading soon. */
  ask() {
    this.asked = true;
    if (this.timer || this.running || this.held) return;
    const wait = Math.max(0, this.view.interval - (performance.now() - this.endedAt));
    this.timer = setTimeout(() => this.run(), wait);
  }

  hold(held) {
    this.held = held;
    if (!held && this.asked) this.ask();
  }

  /** Nothing moves under a pressed pointer, or below a selection. */
  busy() {
    const selection = getSelection();
    const selected = !selection.isCollapsed && selection.anchorNode?.parentElement?.closest('main');
    return this.succeeded && (this.down || Boolean(selected));
  }

  async run() {
    this.timer = null;
    if ((this.held || document.hidden) && this.succeeded) return;
    if (this.busy()) {
      this.timer = setTimeout(() => this.run(), HELD_MS);
      return;
    }
    const stopper = new AbortController();
    this.stopper = stopper;
    this.running = true;
    this.asked = false;
    try {
      await this.view.refresh(stopper.signal);
      if (!stopper.signal.aborted) this.succeeded = true;
    } catch (error) {
      if (!stopper.signal.aborted) this.failed(error);
    }
    if (stopper.signal.aborted) return;
    this.running = false;
    this.endedAt = performance.now();
    if (this.asked) this.ask();
  }
}
