// Serves this folder and introduces the pages of a room to each other: who comes gets the next rank, and messages for
// another rank are passed on as they are. npm install && npm start; PORT and HOST choose the address (HOST=0.0.0.0 for
// other machines).

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';

const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
};
const FILES = /^\/(index\.html|webrtc\.html|node_modules\/@tabmesh\/collectives\/dist\/index\.js)$/;
/** By name: the open event streams by rank. */
const rooms = new Map();

const tell = (stream, event, data) => stream.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);

function join(room, size, response) {
  const streams = rooms.get(room) ?? [];
  rooms.set(room, streams);
  if (!(size >= 1 && size <= 16) || streams.length >= size) return void response.writeHead(409).end();
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  tell(response, 'rank', streams.push(response) - 1);
  if (streams.length === size) for (const stream of streams) tell(stream, 'all', size);
  response.on('close', () => {
    if (rooms.get(room) === streams) rooms.delete(room);
  });
}

async function signal(room, from, to, request, response) {
  let text = '';
  for await (const part of request.setEncoding('utf8'))
    if ((text += part).length > 65536) return void response.writeHead(413).end();
  const stream = rooms.get(room)?.[to];
  if (stream) tell(stream, 'signal', { from, data: JSON.parse(text) });
  response.writeHead(stream ? 204 : 404).end();
}

async function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, 'http://here');
  const [room, size, from, to] = ['room', 'size', 'from', 'to'].map((name) => searchParams.get(name));
  if (pathname === '/events') return join(room, Number(size), response);
  if (pathname === '/signal' && request.method === 'POST')
    return signal(room, Number(from), Number(to), request, response);
  const path = pathname === '/' ? '/index.html' : pathname;
  if (!FILES.test(path)) return void response.writeHead(404).end();
  response
    .writeHead(200, { 'content-type': TYPES[extname(path)] })
    .end(await readFile(new URL(`.${path}`, import.meta.url)));
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    if (!response.headersSent) response.writeHead(400);
    response.end(String(error.message));
  });
});
server.listen(Number(process.env.PORT ?? 8080), process.env.HOST ?? 'localhost', () => {
  console.log(`http://localhost:${server.address().port}/webrtc.html`);
});
