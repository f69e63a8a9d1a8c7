// A proxy of bytes, so that the server seems to go away and to come back.
import net from 'node:net';

export class Proxy {
  constructor(url) {
    const { hostname, port, protocol } = new URL(url);
    this.target = { host: hostname, port: Number(port || (protocol === 'https:' ? 443 : 80)) };
    this.sockets = new Set();
    this.port = 0;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  start() {
    this.server = net.createServer((near) => this.join(near));
    return new Promise((resolve) => {
      this.server.listen(this.port, '127.0.0.1', () => {
        this.port = this.server.address().port;
        resolve();
      });
    });
  }

  join(near) {
    const far = net.connect(this.target);
    for (const [from, to] of [[near, far], [far, near]]) {
      this.sockets.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        to.destroy();
        this.sockets.delete(from);
      });
      from.pipe(to);
    }
  }

  stop() {
    const closed = new Promise((resolve) => { this.server.close(resolve); });
    this.sockets.forEach((socket) => socket.destroy());
    return closed;
  }
}
