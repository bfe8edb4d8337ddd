// `tabmesh doctor`: what this machine has to run tabs and kernels with, and what to install. Fails if something is
// missing, so scripts can ask.

import type { Command } from '../command.ts';
import { TabmeshError } from '../../base/errors.ts';
import { nodeGpu } from '../../device/node-gpu.ts';
import { ensureChromium, findBrowser, installHint } from '../machine/browser.ts';
import { ensureFirefox, findFirefox, firefoxHint } from '../machine/firefox.ts';
import { ensureTurnserver, findTurnserver } from '../machine/coturn.ts';
import { ensureLavapipe } from '../machine/lavapipe.ts';
import { describeOptions, parseOptions } from '../options.ts';
import { findLavapipe, useVulkan } from '../machine/vulkan.ts';

const OPTIONS = {
  install: {
    type: 'flag',
    about: 'install Chromium and Firefox, and lavapipe and coturn into the cache folder (root on Debian only)',
  },
} as const;

async function adapterLine(): Promise<string> {
  const driver = useVulkan();
  const adapter = await (await nodeGpu()).requestAdapter();
  if (adapter === null) throw new TabmeshError(`no WebGPU adapter in Node (Vulkan driver: ${driver})`);
  const { vendor, architecture, description } = adapter.info;
  return `WebGPU in Node: ${description || `${vendor} ${architecture}`}${process.platform === 'linux' ? ` (${driver})` : ''}`;
}

function turnserverLine(install: boolean, say: (line: string) => void): string {
  try {
    return `coturn: ${(install ? ensureTurnserver(say) : findTurnserver()) ?? 'not here (optional: the test of relayed connections needs it)'}`;
  } catch (error) {
    if (!(error instanceof TabmeshError)) throw error;
    return `${error.message} (optional: the test of relayed connections needs it)`;
  }
}

export const command: Command = {
  name: 'doctor',
  summary: 'shows which browser and which GPU drivers this machine has',
  help: [
    'tabmesh doctor: shows which browser and which GPU drivers this machine has',
    '',
    'usage: tabmesh doctor [options]',
    '',
    describeOptions(OPTIONS),
    '',
    'CHROME_PATH and FIREFOX_PATH name other browsers; TABMESH_VULKAN (system, swiftshader, lavapipe) chooses the driver under Node on Linux.',
  ].join('\n'),
  async run(args, io) {
    const { options } = parseOptions(args, OPTIONS);
    let code = 0;
    const report = async (check: () => string | Promise<string>) => {
      try {
        io.out(await check());
      } catch (error) {
        if (!(error instanceof TabmeshError)) throw error;
        io.out(error.message);
        code = 1;
      }
    };
    await report(() => {
      const path = options.install ? ensureChromium(io.err) : findBrowser();
      if (path === undefined) throw new TabmeshError(installHint());
      return `browser: ${path}`;
    });
    // Only the tests need it; who trains or serves needs none.
    await report(() => {
      const path = options.install ? ensureFirefox(io.err) : findFirefox();
      return path === undefined ? `${firefoxHint()} (optional: the tests need it)` : `firefox: ${path}`;
    });
    if (process.platform === 'linux')
      await report(
        () =>
          `lavapipe: ${(options.install ? ensureLavapipe(io.err) : findLavapipe()) ?? 'not here (optional: a second software driver)'}`,
      );
    // Only a test needs it, and that one says loudly what it could not test.
    io.out(turnserverLine(options.install, io.err));
    await report(adapterLine);
    return code;
  },
};
