// A Vite plugin that gives the page the training text at <base>data/moby-dick.txt: served from memory in dev, written
// as a file by the build, from where preview and any static host serve it. Nothing is fetched from elsewhere.

import type { Plugin } from 'vite';
import { MOBY_DICK_PATH, readMobyDick } from './moby-dick.ts';

export function mobyDickPlugin(): Plugin {
  return {
    name: 'tabmesh-moby-dick',
    configureServer(server) {
      let text: string | undefined;
      server.middlewares.use((request, response, next) => {
        const path = request.url?.split('?')[0];
        if (path !== `/${MOBY_DICK_PATH}` && path !== server.config.base + MOBY_DICK_PATH) return next();
        response.setHeader('content-type', 'text/plain; charset=utf-8');
        response.setHeader('cache-control', 'no-cache');
        response.end((text ??= readMobyDick()));
      });
    },
    generateBundle() {
      if (this.environment.name === 'client')
        this.emitFile({ type: 'asset', fileName: MOBY_DICK_PATH, source: readMobyDick() });
    },
  };
}
