// The http server under everything that tabmesh serves. Whatever a handler throws or rejects with is caught here, in
// one place, and becomes an answer: no request ends the server. Connections, headers and times are bounded, for all and
// for each address.

import { createServer, STATUS_CODES } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { InternalError, ServeError } from '../base/errors.ts';
import { isLoopback, plain } from './address.ts';
import { securityHeaders } from './headers.ts';

export interface FrontOptions {
  readonly port: number;
  /** A name or address to listen on; undefined: all addresses. */
  readonly host: string | undefined;
  /** Answers a request; what it throws or rejects with becomes status 500. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** Hears of errors that are ours; one sentence. */
  readonly note: (text: string) => void;
}

const MAX_CONNECTIONS = 2000;
/**
 * Forty people behind one address, each with six connections and some web sockets. A proxy on this machine speaks for
 * all.
 */
const MAX_PER_ADDRESS = 600;
const MAX_HEADER_BYTES = 16 * 1024;
const HEADERS_MS = 10_000;
/** For a whole request: an upload of two gigabytes over a slow disk. */
const REQUEST_MS = 600_000;
/** Without a byte in either direction. */
const IDLE_MS = 120_000;
/** What is read of a body that nobody wants, so that the sender gets to read the answer. */
const UNWANTED_BYTES = 256 * 1024;
/** Errors of a peer that went away. */
const GONE = new Set([
  'ECONNRESET',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ERR_STREAM_DESTROYED',
  'ECONNABORTED',
  'ABORT_ERR',
]);

/** Resolves when it listens. Rejects with ServeError when the port cannot be had. */
export async function openFront({ port, host, handle, upgrade, note }: FrontOptions): Promise<Server> {
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_MS,
    requestTimeout: REQUEST_MS,
    connectionsCheckingInterval: 2000,
    noDelay: true,
    // Node would refuse it itself, without our headers; the handler asks for a Host.
    requireHostHeader: false,
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.setTimeout(IDLE_MS, (socket) => {
    socket.destroy();
  });
  const ignoreErrors = (request: IncomingMessage, response: ServerResponse): void => {
    request.on('error', ignore);
    response.on('error', ignore);
  };
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    ignoreErrors(request, response);
    // As a promise, so that a throw at once is caught like a later one.
    Promise.resolve()
      .then(() => handle(request, response))
      .catch((error: unknown) => fail(error, response, note));
  };
  server.on('request', answer);
  // The handler decides whether the body is wanted before it is sent.
  server.on('checkContinue', answer);
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    ignoreErrors(request, response);
    for (const [name, value] of Object.entries(securityHeaders(''))) response.setHeader(name, value);
    say(response, 417, 'Expect: only 100-continue is known');
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => refuseBytes(error, socket));
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', ignore);
    try {
      upgrade(request, socket, head);
    } catch (error) {
      note(sentence(error));
      endUpgrade(socket, 500, 'this request could not be answered');
    }
  });
  limitPerAddress(server);
  await listen(server, port, host);
  return server;
}

/** Answers with one sentence and does not wait for a body. */
export function say(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  const { req: request } = response;
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const unread =
    !request.complete &&
    (request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] ?? 0) > 0);
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    ...(unread ? { connection: 'close' } : {}),
    ...headers,
  });
  response.end(`${text}\n`);
  if (unread) drop(request);
}

/** Ends an upgrade with an answer; the other end may not keep the connection open. */
export function endUpgrade(
  socket: Duplex,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (socket.destroyed) return;
  socket.on('error', ignore);
  socket.end(rawAnswer(status, text, headers), () => socket.destroy());
}

function drop(request: IncomingMessage): void {
  let bytes = 0;
  request.on('data', (part: Buffer) => {
    bytes += part.length;
    if (bytes > UNWANTED_BYTES) request.destroy();
  });
}

function fail(error: unknown, response: ServerResponse, note: (text: string) => void): void {
  if (GONE.has((error as NodeJS.ErrnoException | undefined)?.code ?? '')) {
    response.destroy();
    return;
  }
  note(sentence(error));
  say(response, 500, 'this request could not be answered');
}

function refuseBytes(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : 400;
  endUpgrade(socket, status, 'expected an HTTP request');
}

function rawAnswer(status: number, text: string, more: Readonly<Record<string, string>>): string {
  const body = `${text}\n`;
  const headers = {
    ...securityHeaders(''),
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
    ...more,
  };
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n${body}`;
}

function limitPerAddress(server: Server): void {
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const address = plain(socket.remoteAddress ?? '');
    if (isLoopback(address)) return;
    const count = open.get(address) ?? 0;
    if (count >= MAX_PER_ADDRESS) {
      socket.destroy();
      return;
    }
    open.set(address, count + 1);
    socket.once('close', () => {
      const left = open.get(address)! - 1;
      if (left === 0) open.delete(address);
      else open.set(address, left);
    });
  });
}

async function listen(server: Server, port: number, host: string | undefined): Promise<void> {
  try {
    await new Promise<void>((listening, failed) => {
      server.once('error', failed);
      server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
        server.off('error', failed);
        listening();
      });
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE')
      throw new ServeError(
        `port ${port}: it is already in use; end the program that has it, or choose another with --port`,
        { cause: error },
      );
    if (code === 'EACCES')
      throw new ServeError(
        `port ${port}: this user may not listen on it (ports below 1024 belong to root); choose another with --port`,
        { cause: error },
      );
    throw new ServeError(`port ${port}: cannot listen on it (${message})`, { cause: error });
  }
}

/** The port that a server got. */
export function portOf(server: Server): number {
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new InternalError('the page server has no port');
  return (address as AddressInfo).port;
}

function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function ignore(): void {
  /* the other end went away; 'close' follows */
}
