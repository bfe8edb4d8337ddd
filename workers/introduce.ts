// A SharedWorker that introduces tabs of one browser: two that name the same meeting get the ends of fresh ports. It
// keeps nothing else, and forgets who waits too long behind others. It proves nothing by itself: the name is known to
// the two alone, and they greet over the ports (src/cluster/same-browser.ts).

export interface Wish {
  readonly meet: string;
  readonly leave?: true;
}
export interface Introduction {
  readonly meet: string;
  readonly ports: readonly [talk: MessagePort, control: MessagePort, bulk: MessagePort];
}

const MAX_WAITING = 1024;
const MAX_NAME = 500;
const waiting = new Map<string, MessagePort>();

addEventListener('connect', (event) => {
  const port = (event as MessageEvent).ports[0]!;
  port.onmessage = ({ data }: MessageEvent<unknown>) => take(port, data);
});

function take(port: MessagePort, data: unknown): void {
  const { meet, leave } = (typeof data === 'object' && data !== null ? data : {}) as Record<string, unknown>;
  if (typeof meet !== 'string' || meet.length > MAX_NAME) return;
  const other = waiting.get(meet);
  if (leave === true) {
    if (other === port) waiting.delete(meet);
    return;
  }
  if (!other || other === port) {
    waiting.set(meet, port);
    if (waiting.size > MAX_WAITING) waiting.delete(waiting.keys().next().value!);
    return;
  }
  waiting.delete(meet);
  const channels = [new MessageChannel(), new MessageChannel(), new MessageChannel()] as const;
  for (const [to, end] of [
    [other, 'port1'],
    [port, 'port2'],
  ] as const) {
    const ports = [channels[0][end], channels[1][end], channels[2][end]] as const;
    to.postMessage({ meet, ports } satisfies Introduction, [...ports]);
  }
}
