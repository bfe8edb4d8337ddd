// Answers with a file of the built pages. A file whose name holds a hash of its content never changes; everything else
// is asked for anew, so that a page is never newer or older than its parts. What is not there is 404, never a page: a
// script of an older build must not come back as html.

import type { IncomingMessage, ServerResponse } from 'node:http';
import send from 'send';
import { say } from './front.ts';

const A_YEAR_S = 31_536_000;

/** @param path below the base, without a slash at its start, still encoded as in the address. */
export function sendPage(
  request: IncomingMessage,
  response: ServerResponse,
  folder: string,
  path: string,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    say(response, 405, 'pages are only read', { allow: 'GET, HEAD' });
    return Promise.resolve();
  }
  return new Promise((done) => {
    response.once('close', done);
    const hashed = /^assets\/[^/]+-[\w-]{8}\.\w+$/.test(path);
    response.setHeader('cache-control', hashed ? `public, max-age=${A_YEAR_S}, immutable` : 'no-cache');
    send(request, `/${path}`, { root: folder, dotfiles: 'ignore', cacheControl: false })
      .on('error', (error: { status?: number }) => {
        const status = error.status ?? 500;
        say(
          response,
          status,
          status === 404
            ? 'there is no such file here; a page that asks for it is older than its server: reload it'
            : 'this file cannot be sent',
        );
      })
      .on('directory', () => say(response, 404, 'there is no such page'))
      .pipe(response);
  });
}
