import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build, createServer, preview, type InlineConfig } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mobyDickPlugin } from '../../src/server/pages/moby-dick-plugin.ts';
import { MOBY_DICK_PATH, readMobyDick } from '../../src/server/pages/moby-dick.ts';

describe('readMobyDick', () => {
  const text = readMobyDick();

  it('is the book, with every chapter under its heading once', () => {
    expect(text.length).toBeGreaterThan(1_200_000);
    expect(text).toContain('CHAPTER 1. Loomings.\n\nCall me Ishmael. Some years ago');
    expect(text.match(/^CHAPTER \d+\. /gm)!.length).toBe(135);
    expect(text.trimEnd().endsWith('orphan.') || text.trimEnd().endsWith('FINIS')).toBe(true);
    expect(text).not.toContain('CONTENTS');
    expect(text).not.toContain('\r');
  });

  it('has a small alphabet', () => {
    expect(new Set(text).size).toBeLessThan(100);
  });
});

describe('mobyDickPlugin', () => {
  let root: string;
  const config = (): InlineConfig => ({
    root,
    configFile: false,
    logLevel: 'silent',
    plugins: [mobyDickPlugin()],
    build: { outDir: 'out' },
    server: { port: 0, host: '127.0.0.1' },
    preview: { port: 0, host: '127.0.0.1' },
  });
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'moby-'));
    writeFileSync(join(root, 'index.html'), '<!doctype html><title>x</title>');
  });
  afterAll(() => {
    rmSync(root, { recursive: true });
  });

  async function expectBook(server: { httpServer: { address(): unknown } | null }): Promise<void> {
    const { port } = server.httpServer!.address() as AddressInfo;
    const response = await fetch(`http://127.0.0.1:${port}/${MOBY_DICK_PATH}`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^text\/plain/);
    expect(await response.text()).toBe(readMobyDick());
  }

  it('serves the text in dev', async () => {
    const server = await createServer(config());
    try {
      await server.listen();
      await expectBook(server);
    } finally {
      await server.close();
    }
  });

  it('writes it in a build, which preview serves', async () => {
    await build(config());
    const server = await preview(config());
    try {
      await expectBook(server);
    } finally {
      await server.close();
    }
  });
});
