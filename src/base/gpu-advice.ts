// What to do about a missing or slow GPU, in the words of the browser that shows it: advice on Chrome's switches helps
// nobody in Firefox. Pure texts.

/** Where a program runs without a browser's name, as in Node, it is ''. */
export function userAgent(): string {
  return (globalThis as { navigator?: { userAgent?: string } }).navigator?.userAgent ?? '';
}

const isFirefox = (agent: string): boolean => /Firefox\//.test(agent);

/** A page can always be asked for the references. */
const onProcessor = (agent: string): string =>
  agent ? ', or train on the processor with #backend=cpu in the link' : '';

/** The page has no `navigator.gpu`. `secure`: it came over https or from this machine. */
export function withoutWebGpu(agent: string, secure: boolean): string {
  if (!secure) return 'device: this page has no WebGPU, because it came over http; use https or localhost';
  const firefox =
    'device: this Firefox has no WebGPU; use about:config to set dom.webgpu.enabled (it is on by default on Windows and macOS)';
  if (isFirefox(agent)) return firefox + onProcessor(agent);
  return `device: this browser has no WebGPU; use Chrome or Edge 113+, Safari 26+ or Firefox 141+, over https or localhost${onProcessor(agent)}`;
}

/** WebGPU is there, but finds nothing to compute with. */
export function withoutAdapter(agent: string): string {
  const how = isFirefox(agent)
    ? 'or set gfx.webgpu.ignore-blocklist in about:config (about:support says what is blocked)'
    : 'or start Chrome with --enable-unsafe-webgpu to use the software adapter';
  return `device: WebGPU found no adapter; update the graphics driver, ${how}${onProcessor(agent)}`;
}

/** Where this browser says why its adapter is a software one. */
export function whySoftware(agent: string): string {
  return isFirefox(agent)
    ? 'In Firefox, about:support says why there is no GPU.'
    : 'In Chrome, chrome://gpu says why there is no GPU.';
}

/** Firefox tells pages nothing about its adapter. */
export function namelessAdapter(agent: string): string {
  return isFirefox(agent) ? 'an adapter that Firefox does not name' : 'an adapter without a name';
}
