// A run of the collectives as Markdown, for an issue or a chat.

import { cellsOf, COLUMNS, summarise } from '../../bench/collectives/collectives-report.ts';
import type { CollectivesReport } from '../../bench/collectives/collectives-report.ts';

export function formatMarkdown(report: CollectivesReport, link: string): string {
  const row = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [
    '### tabmesh bench collectives',
    '',
    `- ${report.ranks} tabs, links: ${report.links.join(', ')}`,
    `- adapter: ${report.adapter}`,
    `- browser: ${report.browser}`,
    `- date: ${report.date}`,
    `- settings: \`#${link}\``,
    ...(report.end === 'complete'
      ? []
      : [`- ${report.end}${report.problem ? `: ${report.problem}` : ''}; the rows until then`]),
    ...summarise(report).map((line) => `- ${line}`),
    '',
    row(COLUMNS),
    row(COLUMNS.map((_, i) => (i === 0 || i === 2 ? '---' : '---:'))),
    ...report.results.map((one) => row(cellsOf(one))),
    '',
  ].join('\n');
}
