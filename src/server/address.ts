// Whose allowance counts for a request.

import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';

/**
 * The address of the machine that asks. A proxy on this machine is believed about whom it speaks for: the last address
 * is the one that it saw itself. An IPv6 address counts by its first 64 bits, because one machine has all the others
 * below them.
 */
export function addressOf(request: Pick<IncomingMessage, 'socket' | 'headers'>): string {
  const direct = plain(request.socket.remoteAddress ?? '');
  const forwarded = request.headers['x-forwarded-for'];
  if (forwarded === undefined || !isLoopback(direct)) return networkOf(direct);
  const last = plain(String(forwarded).split(',').at(-1)!.trim());
  return isIP(last) === 0 ? direct : networkOf(last);
}

export function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.');
}

/** Without the prefix of an IPv4 address on an IPv6 socket. */
export function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}

function networkOf(address: string): string {
  if (isIP(address) !== 6 || isLoopback(address)) return address;
  const [head = '', tail] = address.split('%')[0]!.toLowerCase().split('::');
  const left = head.split(':').filter(Boolean);
  const right = tail === undefined ? [] : tail.split(':').filter(Boolean);
  const whole =
    tail === undefined
      ? left
      : [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right];
  return whole
    .slice(0, 4)
    .map((part) => part.replace(/^0+(?=.)/, ''))
    .join(':');
}
