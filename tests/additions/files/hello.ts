// `tabmesh hello`: greets.

import type { Command } from '../../../src/cli/command.ts';
import { describeOptions, parseOptions } from '../../../src/cli/options.ts';

const OPTIONS = { name: { type: 'string', value: 'text', default: 'world', about: 'whom to greet' } } as const;

export const command: Command = {
  name: 'hello',
  summary: 'greets whoever is named on the command line',
  help: [
    'tabmesh hello: greets whoever is named on the command line',
    '',
    'usage: tabmesh hello [options]',
    '',
    describeOptions(OPTIONS),
  ].join('\n'),
  async run(args, io) {
    const { options } = parseOptions(args, OPTIONS);
    io.out(`hello, ${options.name}`);
    return 0;
  },
};
